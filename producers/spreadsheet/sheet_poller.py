"""One data type's turn: looks now and then whether its files have changed, and reads them when they have."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import cast

from pydantic import JsonValue

from sorbus.abilities import PublishedState
from sorbus.backoff import Backoff
from sorbus.connector import BoundSource
from sorbus.drift.watch import DriftWatch
from sorbus.errors import PartialOutage, TransientError
from sorbus.producers.polling.change_detector import ChangeDetector
from sorbus.producers.polling.known_key import require_known_key
from sorbus.producers.polling.list_report import ListReport
from sorbus.producers.polling.poll_state import NO_ID, PageResult
from sorbus.producers.spreadsheet.chosen_files import ChosenFiles
from sorbus.producers.spreadsheet.options import SpreadsheetSource
from sorbus.producers.spreadsheet.shape import SheetShape
from sorbus.producers.spreadsheet.sheet_reader import Reading, SheetReader
from sorbus.telemetry.metrics import PollMetrics

_log = logging.getLogger(__name__)
_FIRST_REMINDER, _LONGEST_PAUSE = 1.0, 600.0
"""Seconds after which a problem that lasts is reported again."""


class SheetPoller:
    """Polls one data type. Times are in seconds of a clock that doesn't jump."""

    def __init__(self, source: BoundSource, system: str, folder: Path) -> None:
        """MapError where the mapping doesn't fit. Touches no file."""
        options = source.options
        assert isinstance(options, SpreadsheetSource)
        self.name = source.name
        self._options, self._system = options, system
        self._what = f"{options.resource} of {system}"
        self._shape = SheetShape(source, system)
        self._files = ChosenFiles(options, folder)
        self._memory = ChangeDetector(source.name, self._encode, lambda _: None, can_look=False)
        self._reader = SheetReader(options, self._what, self._shape, self._memory, self._files)
        self._report = ListReport(self._what, source.name, options.resource, ())
        self._drift: DriftWatch | None = None
        self._metrics: PollMetrics | None = None
        self._reading: Reading | None = None
        self._began = self._due = 0.0
        self._again = True
        self._wanted: set[bytes] = set()
        """Records that are asked for."""
        self._sought = frozenset[bytes]()
        """Those that were when the reading began that is under way."""
        self._asked = False
        """Whether the reading that is under way was asked for."""
        self._confirmed: frozenset[bytes] | None = None
        """The deletes that were confirmed when the last reading began."""
        self._floor: int | None = None
        self._read_at: int | None = None
        self._reminder = Backoff(_FIRST_REMINDER, _LONGEST_PAUSE, limit=_LONGEST_PAUSE)
        self._said, self._says_again = "", 0.0

    def remember(self, published: Iterable[PublishedState]) -> None:
        """What is on the topic."""
        self._memory.remember(published)

    def take_over(self, floor: int) -> None:
        """With the next `restore` it publishes above this version."""
        self._floor = floor

    def restore(self, stored: JsonValue) -> None:
        """Resumes where the position said; None: from the beginning. LostPosition where the key is another."""
        self._metrics = PollMetrics(self._system, self.name, period=self._options.seconds)
        found = cast("dict[str, object]", stored) if isinstance(stored, dict) and self._floor is None else {}
        if self._options.removed_rows == "keep" and len(self._memory):
            require_known_key(self.name, found.get("key"), self._options.key, "removed_rows")
        read_at, deleted, floor = found.get("read_at"), found.get("deleted_version"), found.get("floor")
        self._read_at = read_at if isinstance(read_at, int) else None
        self._memory.deleted_version = deleted if isinstance(deleted, int) else 0
        self._reader.same_named.restore(found.get("columns"))
        self._floor = floor if isinstance(floor, int) else self._floor
        if self._floor is not None:
            self._memory.begin_above(self._floor)

    def begin(self, drift: DriftWatch) -> None:
        """From now on changed headers, and deletes that need proof, are shown in drift."""
        self._drift = drift
        self._report.begin(drift)

    def position(self) -> JsonValue:
        """When the sheets were read last, the version of the last delete, and that above which all is published.

        `columns`: those that filled the fields of their names.
        """
        return {
            "read_at": self._read_at,
            "deleted_version": self._memory.deleted_version,
            "floor": self._floor,
            "key": list(self._options.key),
            "columns": self._reader.same_named.stored(),
        }

    def resnapshot(self) -> None:
        """Publishes every record again."""
        self._memory.doubt_all()
        self.read_again()

    def reread(self, ids: Sequence[bytes]) -> None:
        """Publishes these again; of one that is neither in the sheets nor published, that it is gone."""
        self._memory.doubt(ids)
        self._wanted.update(ids)
        self.read_again()

    def read_again(self) -> None:
        """Reads the files although they haven't changed."""
        self._again, self._due = True, 0.0

    @property
    def problem(self) -> str | None:
        """What can't be read for now."""
        return self._reader.problem

    @property
    def is_reading(self) -> bool:
        """Whether a reading is under way."""
        return self._reading is not None

    def due_at(self) -> float:
        """When there is something to do."""
        confirmed = self._report.confirmed_deletes()
        is_new = bool(confirmed) and confirmed != self._confirmed
        return 0.0 if self._reading is not None or is_new else self._due

    def step(self, until: float) -> PageResult | None:
        """Reads on until something is found, the reading ends, or time is up. PartialOutage."""
        if self._reading is None:
            self._begin()
        assert self._reading is not None
        try:
            for found in self._reading:
                if found is not None and (found.changes or found.rejects or found.resolved or found.copied):
                    return found
                if time.monotonic() >= until:
                    return None
        except TransientError as error:
            self._ended(error.retry_after)
            self._remind(error)
            return None
        except BaseException:
            self._reading = None
            raise
        self._reminder.reset()
        self._said = ""
        self._ended(None)
        return self._absent()

    def _absent(self) -> PageResult | None:
        """What the reading that has ended says of records that were asked for and are unknown."""
        if not (self._reader.is_changed and self._reader.was_complete):
            return None
        sought, self._sought = self._sought, frozenset()
        self._wanted -= sought
        found = PageResult()
        if self._options.removed_rows == "delete":
            unknown = sorted(id for id in sought if id not in self._memory and not id.startswith(NO_ID))
            found.changes += [self._memory.absent(id, time.time_ns() // 1000) for id in unknown]
        return found if found.changes else None

    def close(self) -> None:
        """Gives up a reading that is under way, with its temporary files."""
        if self._reading is not None:
            self._reading.close()
            self._reading = None

    def _begin(self) -> None:
        self._began = time.monotonic()
        self._confirmed = self._report.confirmed_deletes()
        self._asked, self._again = self._again, False
        self._sought = frozenset(self._wanted)
        if self._confirmed is not None:
            self._reader.deletes.confirmed = self._confirmed
        self._reading = self._reader.reading(
            again=self._asked,
            is_first=self._read_at is None,
            counts_rows=bool(self._confirmed) or self._reader.deletes.waits_for_list,
        )

    def _ended(self, retry_after: float | None) -> None:
        self._reading = None
        now = time.monotonic()
        soon = self._files.soon if self._files.soon is not None else retry_after
        self._due = now + (self._options.seconds if soon is None else min(soon, self._options.seconds))
        assert self._metrics is not None
        if self._reader.problem is None:
            self._metrics.polled(self._reader.rows if self._reader.is_changed else 0, now - self._began)
        if not self._reader.is_changed:
            self._again = self._again or self._asked  # nothing could be read: still asked for
            return
        self._read_at = time.time_ns() // 1000
        self._floor = None
        self._tell()
        _log.info("%s: read, %d rows, %.1f s", self._what, self._reader.rows, now - self._began)

    def _tell(self) -> None:
        if self._reader.was_complete:
            self._report.tell(self._reader.deletes, 0)
        if self._drift is not None and self._reader.problem is None:
            shape = dict.fromkeys(sorted(self._reader.columns), "")
            self._drift.saw(self.name, self._options.resource, shape, self._shape.mapped)

    def _remind(self, error: TransientError) -> None:
        """Raises a problem when it is new, and ever more rarely while it lasts."""
        now = time.monotonic()
        if str(error) == self._said and now < self._says_again:
            return
        if str(error) != self._said:
            self._reminder.reset()
        self._said = str(error)
        pause = self._reminder.next(None)
        self._says_again = now + pause
        raise PartialOutage(f"{self._what}: {error}", retry_after=self._options.seconds) from error

    def _encode(self, row: object) -> bytes:
        return self._reader.encode(row)
