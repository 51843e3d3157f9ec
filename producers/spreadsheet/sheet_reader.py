"""Reads the sheets of one data type when their files have changed, and compares them with what is published.

Reading is a generator that yields what is to be published, and None now and then, so that it never holds the loop.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Mapping
from contextlib import ExitStack
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from sorbus.errors import PermanentError, TransientError
from sorbus.http_api.interface import Json
from sorbus.producers.polling.change_detector import ChangeDetector, raw_json
from sorbus.producers.polling.deletes import AbsenceCheck, Deletes
from sorbus.producers.polling.poll_state import NO_ID, PageResult, Rules, add
from sorbus.producers.spreadsheet.chosen_files import ChosenFiles
from sorbus.producers.spreadsheet.options import SpreadsheetSource
from sorbus.producers.spreadsheet.same_named import SameNamedColumns
from sorbus.producers.spreadsheet.shape import NamedCells, SheetEncoder, SheetShape
from sorbus.spreadsheet.cells import UnusableCell
from sorbus.spreadsheet.files import FileStamp
from sorbus.spreadsheet.sheet_rows import MORE_CELLS, SheetRow, SheetRows, read_sheets

_log = logging.getLogger(__name__)
_PAGE = 500
_MOST_NAMELESS = 100
_SHOWN = 5
_WRITTEN = "the row as it is written"
"""The name, in a dead letter, of a row whose cells aren't known by their columns."""
Reading = Generator["PageResult | None", None, None]


class _Sheet(NamedTuple):
    file: str
    rows: SheetRows
    encoder: SheetEncoder


class _Doubled(NamedTuple):
    """Rows with one key: where the first ones are, and what they hold."""

    places: list[str]
    raw: list[dict[str, Json]]


class SheetReader:
    """One data type's. `problem`: what can't be read for now. `columns`: every header's names, after a reading."""

    def __init__(
        self, options: SpreadsheetSource, what: str, shape: SheetShape, memory: ChangeDetector, files: ChosenFiles
    ) -> None:
        self.problem: str | None = None
        self.columns: frozenset[str] = frozenset()
        self.is_changed = False
        """Whether the last reading found other files than the one before, and so has read them."""
        self.was_complete = True
        """Whether the last reading had every file, so that what it lacked is gone."""
        self.rows = 0
        self._options, self._what, self._shape, self._memory, self._files = options, what, shape, memory, files
        rules = Rules(
            name=what,
            id_of=lambda record: str(record).encode(),
            updated=lambda _: None,
            is_deleted=lambda _: False,
            has_changes=False,
            can_look=False,
            max_deletes=options.max_deletes,
            weak_proof="and a file may lose rows by a slip or half a copy",
        )
        self.deletes = Deletes(rules, memory, _now)
        self.same_named = SameNamedColumns(shape.same_named)
        self._row: NamedCells
        self._encoder: SheetEncoder
        self._read: dict[Path, FileStamp] = {}
        self._said: dict[Path, str] = {}
        self._withdrawn: set[bytes] = set()
        self._told: dict[bytes, str] = {}
        """What was last said of each row without an id: it names the row, which may be another by now."""

    def encode(self, _: Json) -> bytes:
        """For the change detector: the row that is being judged."""
        return self._encoder.encode(self._row)

    def reading(self, *, again: bool, is_first: bool, counts_rows: bool = False) -> Reading:
        """Reads what has changed since the last time; `again`: whatever has changed. `is_first`: a snapshot.

        `counts_rows`: reads again as soon as every file can be read, since deletes wait for what they all lack.
        TransientError where a file can't be read (yet); the others have been.
        """
        self.is_changed = False
        chosen = self._files.look(again=again)
        problems = list(chosen.problems)
        is_owed = again or chosen.ready != self._read
        is_owed = is_owed or (chosen.is_complete and (counts_rows or not self.was_complete))
        if chosen.ready and is_owed:
            with ExitStack() as stack:
                sheets = list[_Sheet]()
                for path in chosen.ready:
                    problem = yield from self._open(path, sheets, stack)
                    if problem is not None:
                        self._files.refuse(path, chosen.ready[path], problem)
                        problems.append(problem)
                if changed := _changed(chosen.ready):
                    raise TransientError(f"{changed} was changed while it was read: it is read again", retry_after=1.0)
                self.was_complete = chosen.is_complete and not problems
                yield from self._compare(sheets, is_complete=self.was_complete, is_first=is_first)
            self._read = dict(chosen.ready)
            self.is_changed = True
        self.problem = "; ".join(problems) or None
        if self.problem:
            raise TransientError(self.problem)

    def _open(
        self, path: Path, sheets: list[_Sheet], stack: ExitStack
    ) -> Generator[PageResult | None, None, str | None]:
        """Reads a file's sheets into `sheets`; what is wrong with the file."""
        mine = list[_Sheet]()
        try:
            for found in read_sheets(path, self._options.sheets, self._shape.form(self.same_named.of(path.name))):
                if found is None:
                    yield None
                    continue
                stack.callback(found.close)
                mine.append(_Sheet(path.name, found, self._shape.of(found)))
        except TransientError as error:
            return str(error)
        sheets += mine
        for sheet in mine:
            if self._said.get(path) != sheet.rows.said:
                self._said[path] = sheet.rows.said
                _log.info(
                    "%s: %s: %s, header in row %d", self._what, sheet.rows.where, sheet.rows.said, sheet.rows.header.row
                )
        return None

    def _compare(self, sheets: list[_Sheet], *, is_complete: bool, is_first: bool) -> Reading:
        seen = dict[bytes, int]()
        """Id -> its row's number in all sheets together."""
        doubled = dict[bytes, _Doubled]()
        is_whole = True
        self.rows = total = 0
        for sheet in sheets:
            for row in sheet.rows.rows():
                total += 1
                if total % _PAGE == 0:
                    yield None
                named = self._shape.named(sheet.rows, row.number, row.cells)
                id = self._id_of(sheet, row, named)
                if isinstance(id, PermanentError):
                    is_whole = False
                elif id is not None:
                    sheet.encoder.see(named)
                    if id in seen:
                        doubled.setdefault(id, _Doubled([], []))
                    seen[id] = total
        yield from self._doubled(sheets, doubled)
        above = self._above(sheets, seen)
        found, nameless = PageResult(), dict[bytes, str]()
        known = self._memory.ids()
        count = len(known)
        for sheet in sheets:
            for row in sheet.rows.rows():
                self.rows += 1
                self._judge(sheet, row, doubled, nameless, found)
                if self.rows % _PAGE == 0:
                    yield self._taken(found, total, is_first)
                    found = PageResult()
        for id, (sheet, row) in above.items():
            self._refuse_above(id, sheet, row, found)
        yield self._taken(found, total, is_first)
        self._told = nameless
        columns = dict[str, set[str]]()
        for sheet in sheets:
            columns.setdefault(sheet.file, set(sheet.rows.header.columns)).intersection_update(
                sheet.rows.header.columns
            )
        self.same_named.saw(columns, is_complete=is_complete)
        self.columns = frozenset(name for sheet in sheets for name in sheet.rows.header.names.values())
        if is_complete:
            known -= seen.keys()
            lacking = [id for id in sorted(known) if not (id in nameless or id in above) and id in self._memory]
            check = AbsenceCheck(count, len(seen), None, is_whole and not above)
            yield from self._settle(lacking, check)

    def _taken(self, found: PageResult, total: int, is_first: bool) -> PageResult:
        if is_first:
            found.copied = (self.rows, total)
        return found

    def _doubled(self, sheets: list[_Sheet], doubled: dict[bytes, _Doubled]) -> Reading:
        """Notes where the first rows of each doubled key are."""
        if not doubled:
            return
        for sheet in sheets:
            for count, row in enumerate(sheet.rows.rows()):
                if count % _PAGE == 0:
                    yield None
                named = self._shape.named(sheet.rows, row.number, row.cells)
                id = self._id_of(sheet, row, named)
                entry = doubled.get(id) if isinstance(id, bytes) else None
                if entry is not None and len(entry.places) < _SHOWN:
                    entry.places.append(sheet.rows.place(row.number))
                    entry.raw.append(named.raw())

    def _above(self, sheets: list[_Sheet], seen: Mapping[bytes, int]) -> dict[bytes, tuple[_Sheet, SheetRow]]:
        """Published records that are above a header now: people sort it in among their rows. Titles are none."""
        found = dict[bytes, tuple[_Sheet, SheetRow]]()
        for sheet in sheets if self._options.header_row is None else ():
            for row in sheet.rows.above:
                id = self._id_of(sheet, row, self._shape.named(sheet.rows, row.number, row.cells))
                if isinstance(id, bytes) and id in self._memory and id not in seen:
                    found.setdefault(id, (sheet, row))
        return found

    def _refuse_above(self, id: bytes, sheet: _Sheet, row: SheetRow, found: PageResult) -> None:
        error = PermanentError(
            f"{sheet.rows.place(row.number)} is above the header, which is in row {sheet.rows.header.row}: it seems to"
            " have been sorted in among the rows, and what is above it isn't read. Move it to the top again (if rows"
            " above it are meant to be titles, say `header_row:` under the data type's `source:`)",
            reason="above the header",
            field=self._shape.key[0],
        )
        raw = self._shape.named(sheet.rows, row.number, row.cells).raw()
        add(found, self._memory.refuse(id, raw, _now(), error))

    def _judge(
        self,
        sheet: _Sheet,
        row: SheetRow,
        doubled: dict[bytes, _Doubled],
        nameless: dict[bytes, str],
        found: PageResult,
    ) -> None:
        named = self._shape.named(sheet.rows, row.number, row.cells)
        id = self._id_of(sheet, row, named)
        if id is None:
            return
        found.read += 1
        now = _now()
        raw = named.raw() if row.fault is None else {_WRITTEN: row.line or [*map(str, filter(None, row.cells))]}
        if isinstance(id, PermanentError):
            key = NO_ID + blake2b(sheet.rows.where.encode() + raw_json(raw), digest_size=8).hexdigest().encode()
            if key not in nameless and (key in self._memory or len(nameless) < _MOST_NAMELESS):
                nameless[key] = str(id)
                if self._told.get(key) != str(id):
                    self._memory.forget_refused([key])
                add(found, self._memory.refuse(key, raw, now, id))
            return
        self._withdrawn.discard(id)
        if (entry := doubled.get(id)) is not None:
            places = ", ".join(entry.places) + (" and more" if len(entry.places) == _SHOWN else "")
            key_names = ", ".join(self._shape.key)
            error = PermanentError(
                f"several rows have the key {id.decode()} ({key_names}): {places}. None of them counts until one is"
                " left: delete the others, or correct their keys",
                reason="doubled key",
                field=self._shape.key[0],
            )
            rows: Json = {"rows": list(entry.raw)}
            add(found, self._memory.refuse(id, rows, now, error))
        else:
            self._row, self._encoder = named, sheet.encoder
            add(found, self._memory.judge(id, raw, now, trusted=True))

    def _id_of(self, sheet: _Sheet, row: SheetRow, named: NamedCells) -> bytes | PermanentError | None:
        """The row's id; why it has none; None: it is skipped."""
        fault: UnusableCell | None = row.fault
        is_skipped = self._options.keyless_rows == "skip" and self._shape.is_keyless(named)
        if fault is MORE_CELLS and is_skipped and [sheet.rows.header.columns[name] for name in self._shape.key] == [0]:
            return None  # no cell can have moved the key out of the first column
        if fault is not None:
            return PermanentError(f"{sheet.rows.place(row.number)} {fault.words}", reason=fault.reason)
        if is_skipped:
            return None
        try:
            return self._shape.id_of(named)
        except ValueError as error:
            return PermanentError(
                f"{sheet.rows.place(row.number)}: {error}: fill it in, or say `keyless_rows: skip` under the data"
                " type's `source:` if such rows (totals, remarks) aren't records",
                reason="no id",
                field=self._shape.key[0],
            )

    def _settle(self, lacking: list[bytes], check: AbsenceCheck) -> Reading:
        """What rows that aren't there any more mean."""
        if self._options.removed_rows == "delete":
            for step in self.deletes.settle(lacking, check):
                assert isinstance(step, PageResult)
                yield step
            return
        found = PageResult()
        for id in lacking:
            if id.startswith(NO_ID):
                add(found, self._memory.gone(id, _now()))
            elif self._memory.is_unsure(id) and id not in self._withdrawn:
                self._withdrawn.add(id)
                self._memory.forget_refused([id])  # should the row come back, it is refused again
                found.resolved.append(id)
        yield found


def _changed(ready: dict[Path, FileStamp]) -> str | None:
    for path, stamp in ready.items():
        try:
            if FileStamp.of(path) != stamp:
                return path.name
        except OSError:
            return path.name
    return None


def _now() -> int:
    return time.time_ns() // 1000
