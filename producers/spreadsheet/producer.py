"""The producer of a folder with spreadsheets."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence

from pydantic import BaseModel

from sorbus.abilities import PublishedState, Resource
from sorbus.connector import Batch, BoundSource, BoundSystem, Change, Position, RejectedRecord, Step
from sorbus.diagnosis import Diagnosis
from sorbus.drift.watch import DriftWatch
from sorbus.errors import Unfinished
from sorbus.producers.polling.poll_state import PageResult, parts_left
from sorbus.producers.spreadsheet.options import SpreadsheetSource
from sorbus.producers.spreadsheet.scan import read_one, scan_sheets
from sorbus.producers.spreadsheet.sheet_poller import SheetPoller
from sorbus.spreadsheet.diagnose import diagnose_folder
from sorbus.spreadsheet.discovery import discover_sheets, sample_rows
from sorbus.spreadsheet.files import SpreadsheetConnection, folder_of

_SLICE = 0.5
"""Seconds of reading after which the loop gets its turn."""


class SpreadsheetProducer:
    """Captures the data types that sheets in one folder own. Only what differs from its topic is an event."""

    Connection: type[BaseModel] = SpreadsheetConnection
    Source: type[BaseModel] = SpreadsheetSource

    def __init__(self, system: BoundSystem, sources: Sequence[BoundSource]) -> None:
        """MapError where a mapping doesn't fit."""
        self._system = system
        folder = folder_of(system)
        self._pollers = [SheetPoller(source, system.name, folder) for source in sources]
        self._drift: DriftWatch | None = None
        self._stored: Position = {}
        self._turn = 0

    @classmethod
    def plan(cls, system: BoundSystem, sources: Sequence[BoundSource]) -> list[Step]:  # noqa: ARG003 - the interface's
        """Files are people's: there is nothing to create."""
        return []

    @classmethod
    def resources_of(cls, options: BaseModel) -> dict[str, str]:
        """The sheet."""
        assert isinstance(options, SpreadsheetSource)
        return {"": options.resource}

    @classmethod
    def discover(cls, system: BoundSystem) -> list[Resource]:
        """Every visible sheet of every file."""
        return discover_sheets(folder_of(system))

    @classmethod
    def sample(cls, system: BoundSystem, resource: str, limit: int) -> list[dict[str, object]]:
        """A few rows of a sheet, as they are shown."""
        return sample_rows(folder_of(system), resource, limit)

    @classmethod
    def diagnose(cls, system: BoundSystem) -> Iterator[Diagnosis]:
        """How the folder is."""
        return diagnose_folder(system)

    @classmethod
    def scan(cls, system: BoundSystem, source: BoundSource) -> Iterator[Sequence[Change | RejectedRecord]]:
        """Every record as it would be published. TransientError, MapError."""
        return scan_sheets(system, source)

    @classmethod
    def ids(cls, system: BoundSystem, source: BoundSource) -> Iterable[bytes]:
        """The key of every row that has one. TransientError, MapError."""
        return (one.id for batch in scan_sheets(system, source) for one in batch if isinstance(one, Change))

    @classmethod
    def read_record(cls, system: BoundSystem, source: BoundSource, id: str) -> bytes | None:
        """One record. PermanentError, TransientError, MapError."""
        return read_one(system, source, id)

    def remember(self, data_type: str, published: Iterable[PublishedState]) -> None:
        """What is on the data type's topic."""
        for poller in self._pollers:
            if poller.name == data_type:
                poller.remember(published)

    def take_over(self, floors: Mapping[str, int]) -> None:
        """These data types are published again, above these versions; what is gone needs the same proof as ever."""
        for poller in self._pollers:
            if poller.name in floors:
                poller.take_over(floors[poller.name])

    def open(self, position: Position | None) -> None:
        """Resumes; the first files are read by the first `read`."""
        self._stored = dict(position or {})
        self._drift = DriftWatch.of(self._system.name, self._system.topic_prefix)
        for poller in self._pollers:
            poller.restore(self._stored.get(poller.name))
            poller.begin(self._drift)

    def list_anew(self) -> None:
        """Reads every file now."""
        for poller in self._pollers:
            poller.read_again()

    def reread(self, data_type: str, ids: Sequence[bytes]) -> None:
        """Reads the data type's files again: a sheet is read whole."""
        for poller in self._pollers:
            if poller.name == data_type and ids:
                poller.reread(ids)

    def read(self, wait: float) -> Batch | None:
        """What a part of a sheet brought; None when nothing came within `wait` seconds.

        PartialOutage where a data type's files can't be read for now. Unfinished while a large one is being read.
        """
        began = time.monotonic()
        until = began + max(wait, _SLICE)
        while True:
            for _ in self._pollers:
                poller = self._pollers[self._turn % len(self._pollers)]
                if poller.due_at() > time.monotonic():
                    self._turn += 1
                    continue
                found = poller.step(until)
                if not poller.is_reading:
                    self._turn += 1
                if (batch := self._batch(found, poller.name)) is not None:
                    return batch
            now = time.monotonic()
            if any(poller.is_reading for poller in self._pollers):
                if now >= until:
                    raise Unfinished(f"{self._system.name} is being read", retry_after=0.0)
                continue
            left = began + wait - now
            if left <= 0:
                return None
            soonest = min(poller.due_at() for poller in self._pollers)
            time.sleep(max(0.0, min(left, soonest - now)))

    @property
    def problem(self) -> str | None:
        """What can't be read for now; None for nothing."""
        return "; ".join(said for poller in self._pollers if (said := poller.problem)) or None

    def confirm(self, position: Position) -> None:
        """Files hold nothing back."""

    def resnapshot(self, data_types: Sequence[str]) -> None:
        """Publishes every record of these data types again."""
        for poller in self._pollers:
            if poller.name in data_types:
                poller.resnapshot()

    def lag(self) -> int | None:
        """Files hold nothing back."""
        return None

    def close(self) -> None:
        """Ends what is under way."""
        for poller in self._pollers:
            poller.close()
        if self._drift is not None:
            self._drift.close()

    def _batch(self, found: PageResult | None, data_type: str) -> Batch | None:
        position: Position = {poller.name: poller.position() for poller in self._pollers}
        position |= parts_left(self._stored, position)
        if found is None:
            if position == self._stored:
                return None
            found = PageResult()
        self._stored = position
        copied = (data_type, *found.copied) if found.copied else None
        resolved = [(data_type, id) for id in found.resolved]
        is_reading = any(poller.is_reading for poller in self._pollers)
        return Batch(found.changes, found.rejects, (), position, not is_reading, copied, resolved)
