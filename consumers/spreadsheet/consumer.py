"""The consumer of a spreadsheet: a batch is one new file in place of the old one, then its versions in the state.

In that order: a crash in between repeats a batch on a file that has it already, and the same values are written again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, JsonValue

from sorbus.abilities import Erased, Preview, Resource, TargetTotals, older_preview
from sorbus.connector import BoundFlow, BoundSystem, Delivery, RejectedDelivery, Step
from sorbus.consumers.spreadsheet.new_file import plan_file, versions_of
from sorbus.consumers.spreadsheet.options import SpreadsheetTarget
from sorbus.consumers.spreadsheet.record_cells import RecordCells, Row
from sorbus.consumers.spreadsheet.target_sheet import TargetSheet
from sorbus.consumers.spreadsheet.totals import read_totals
from sorbus.consumers.written_versions import WrittenRecord, WrittenSession
from sorbus.diagnosis import Diagnosis
from sorbus.dry_run import DryRunReads
from sorbus.errors import PermanentError, TransientError
from sorbus.settings import Settings
from sorbus.spreadsheet.diagnose import diagnose_folder
from sorbus.spreadsheet.discovery import discover_sheets
from sorbus.spreadsheet.files import SpreadsheetConnection, folder_of
from sorbus.spreadsheet.replace_file import require_closed
from sorbus.spreadsheet.sheet_edit import SheetEdit
from sorbus.spreadsheet.text_edit import TextStyle
from sorbus.state import plan_state


class _Wanted(NamedTuple):
    """A delivery that is newer than what was written. `row` None: a delete."""

    place: int
    id: str
    version: int
    row: Row | None
    key: str
    before: WrittenRecord | None


class SpreadsheetConsumer:
    """Delivers one flow into one sheet."""

    Connection: type[BaseModel] = SpreadsheetConnection
    Target: type[BaseModel] = SpreadsheetTarget

    def __init__(self, flow: BoundFlow) -> None:
        """MapError where the mapping doesn't fit."""
        options = flow.options
        assert isinstance(options, SpreadsheetTarget)
        self._flow, self._options = flow, options
        self._path: Path = folder_of(flow.system) / options.file
        self._records = RecordCells(flow)
        self._style = TextStyle(options.numbers, options.dates)
        self._versions = versions_of(flow)
        self._outcomes: Counter[str] = Counter()

    @classmethod
    def plan(cls, flow: BoundFlow) -> list[Step]:
        """The state, and the file with its columns."""
        state = plan_state(Settings().database, flow.system.topic_prefix)
        return [*state, *plan_file(flow, is_new=bool(state))]

    @classmethod
    def totals(cls, flow: BoundFlow, sums: Sequence[str]) -> TargetTotals:
        """What the target holds: see `totals.py`."""
        return read_totals(flow, sums)

    @classmethod
    def resources_of(cls, options: BaseModel) -> dict[str, str]:
        """The sheet."""
        assert isinstance(options, SpreadsheetTarget)
        return {"": options.resource}

    @classmethod
    def discover(cls, system: BoundSystem) -> list[Resource]:
        """Every visible sheet of every file."""
        return discover_sheets(folder_of(system))

    @classmethod
    def diagnose(cls, system: BoundSystem) -> Iterator[Diagnosis]:
        """How the folder is."""
        return diagnose_folder(system)

    @classmethod
    def target_warnings(cls, flow: BoundFlow) -> list[str]:
        """Fields that no cell can hold."""
        return [
            f"{flow.flow.id}: {name} is left out, since no cell can hold a list of records; map what is needed of it"
            " with a rule"
            for name in RecordCells(flow).left_out
        ]

    def open(self) -> None:
        """Whether the file can be read and has every column. TransientError."""
        self.check()

    def check(self) -> None:
        """Whether the file is there and nobody has it open."""
        if not self._path.exists():
            raise TransientError(f"{self._path} isn't there: put it back, or run `sorbus apply`, which makes a new one")
        require_closed(self._path)

    def close(self) -> None:
        """Nothing is kept open."""

    def apply(
        self,
        deliveries: Sequence[Delivery],
        *,
        again: bool = False,
        alone: bool = False,  # noqa: ARG002 - always locks
    ) -> list[RejectedDelivery]:
        """Writes all that is newer in one new file. TransientError where it is open, changed meanwhile, or away."""
        rows: dict[int, Row] = {}
        refused: list[RejectedDelivery] = []
        for place, delivery in enumerate(deliveries):
            if delivery.deleted:
                continue
            try:
                rows[place] = self._records.row(delivery)
            except PermanentError as error:
                refused.append(RejectedDelivery(place, error))
        failed = {refusal.place for refusal in refused}
        todo = [(place, one) for place, one in enumerate(deliveries) if place not in failed]
        fault: TransientError | None = None
        with self._versions.session() as session:
            known = session.find([one.id.decode(errors="replace") for _, one in todo])
            wanted = [
                found
                for place, one in todo
                if (found := self._wanted(place, one, rows.get(place), known, again=again)) is not None
            ]
            if wanted:
                try:
                    refused += self._write(session, wanted)
                except TransientError as error:  # of the file, and not of the state
                    fault = error
        if fault is not None:
            raise fault
        self._outcomes["skipped"] += len(todo) - len(wanted)
        return refused

    def _wanted(
        self, place: int, one: Delivery, row: Row | None, known: Mapping[str, WrittenRecord], *, again: bool
    ) -> _Wanted | None:
        id = one.id.decode(errors="replace")
        before = known.get(id)
        if before is not None and before.is_ahead_of(one, again=again):
            return None
        if row is None:
            key = before.key if before is not None and before.key is not None else ""
            return _Wanted(place, id, one.version, None, key, before)
        return _Wanted(place, id, one.version, row, self._records.key_of(row), before)

    def _write(self, session: WrittenSession, wanted: Sequence[_Wanted]) -> list[RejectedDelivery]:
        keys = {one.key for one in wanted} | {one.before.key or "" for one in wanted if one.before}
        sheet = self._read(keys)
        holders = session.holders([one.key for one in wanted if one.row is not None])
        edit, done, refused = sheet.begin(), dict[str, WrittenRecord](), list[RejectedDelivery]()
        taken = dict[str, str]()
        outcomes: Counter[str] = Counter()
        leaving = {each.id for each in wanted if each.row is None or (each.before and each.before.key != each.key)}
        for one in wanted:
            try:
                if one.row is not None:
                    self._require_free(one, holders, taken, leaving)
                outcomes[self._change(sheet, edit, one)] += 1
            except PermanentError as error:
                refused.append(RejectedDelivery(one.place, error))
                continue
            if one.row is not None:
                taken[one.key] = one.id
            is_kept = one.row is None and self._flow.flow.deletes in ("ignore", "soft")
            key = one.key if one.row is not None or (is_kept and one.key) else None
            done[one.id] = WrittenRecord(one.version, key)
        if not edit.is_empty:
            sheet.write(edit)
        if done:
            session.put(done)
        self._outcomes.update(outcomes)
        return refused

    def _read(self, keys: set[str] | None) -> TargetSheet:
        sheet = TargetSheet(self._path, self._options, self._records.columns, style=self._style, keys=keys)
        if lacking := sheet.missing(self._records.columns):
            raise TransientError(
                f"{self._path.name} has no column {', '.join(lacking)}: put the heading back, or run `sorbus apply`,"
                " which adds it"
            )
        return sheet

    def _require_free(
        self, one: _Wanted, holders: Mapping[str, tuple[str, str]], taken: Mapping[str, str], leaving: set[str]
    ) -> None:
        """PermanentError where another record's row has the key."""
        mine = (self._flow.flow.data_type, one.id)
        holder = holders.get(one.key)
        other = taken.get(one.key)
        if holder is not None and holder != mine and holder[1] not in leaving:
            other = holder[1]
        if other is not None and other != one.id:
            raise PermanentError(
                f"the key {one.key} ({self._options.key}) belongs to the row of another record, {other}: keys must"
                " differ; correct one of the records, or take another `key:`",
                reason="doubled key",
                field=self._options.key,
            )

    def _change(self, sheet: TargetSheet, edit: SheetEdit, one: _Wanted) -> str:
        """Adds the record's change to `edit`; what it is. PermanentError."""
        if one.row is None:
            return self._delete(sheet, edit, one)
        if sheet.encoding is not None:
            self._records.check_text(one.row, self._style, sheet.encoding)
        row = dict(one.row)
        if self._flow.flow.deletes == "soft":
            row[self._options.deleted_column] = None
        former = one.before.key if one.before is not None else None
        number = sheet.row_of(former) if former is not None and former != one.key else None
        if number is None:
            number = sheet.row_of(one.key)
        if number is None:
            edit.added.append(sheet.cells(row))
            return "created"
        changes = sheet.differs(number, row)
        if not changes:
            return "skipped"
        edit.changed[number] = sheet.cells({name: row[name] for name in changes})
        return "updated"

    def _delete(self, sheet: TargetSheet, edit: SheetEdit, one: _Wanted) -> str:
        number = sheet.row_of(one.key or one.id)
        if number is None or self._flow.flow.deletes == "ignore":
            return "skipped"
        if self._flow.flow.deletes == "soft":
            mark = {self._options.deleted_column: True}
            if not sheet.differs(number, mark):
                return "skipped"
            edit.changed[number] = sheet.cells(mark)
        else:
            edit.removed.append(number)
        return "deleted"

    def take_outcomes(self) -> dict[str, int]:
        """See `sorbus.abilities.SupportsOutcomes`."""
        found, self._outcomes = self._outcomes, Counter()
        return dict(found)

    def newer(self, deliveries: Sequence[Delivery]) -> dict[bytes, int]:
        """See `sorbus.abilities.SupportsVersions`."""
        return self._versions.newer(deliveries)

    def versions(self, deliveries: Sequence[Delivery]) -> dict[bytes, int]:
        """See `sorbus.abilities.SupportsAppliedVersions`."""
        return self._versions.of(deliveries)

    def preview(self, delivery: Delivery) -> Preview:
        """The row that would be written, or go. TransientError."""
        return self._previewed([delivery], again=False)[0]

    def begin_dry_run(self, reads: DryRunReads) -> None:  # noqa: ARG002 - a sheet is read whole with each batch
        """Nothing is written by `preview_all`."""
        self.check()

    def preview_all(self, deliveries: Sequence[Delivery]) -> list[Preview]:
        """See `sorbus.dry_run.SupportsDryRun`."""
        return self._previewed(deliveries, again=True)

    def look(self, id: str) -> Mapping[str, JsonValue] | None:
        """The record's row, as it is in the file. TransientError."""
        known = self._versions.find([id]).get(id)
        key = known.key if known is not None and known.key else id
        sheet = self._read({key})
        number = sheet.row_of(key)
        if number is None:
            return None
        return {name: _json(value) for name, value in sheet.values(number).items()}

    def erase(self, id: str, *, dry_run: bool = False) -> Erased:
        """See `sorbus.abilities.SupportsErasure`: empties personal cells of a row that a delete left."""
        known = self._versions.find([id]).get(id)
        key = known.key if known is not None and known.key else id
        sheet = self._read({key})
        number = sheet.row_of(key)
        if number is None:
            return Erased(0)
        if self._flow.flow.deletes == "hard":
            left = f"{self._path.name} still has its row {number}: see who writes there, and delete it"
            return Erased(0, left)
        changes = sheet.differs(number, dict.fromkeys(self._records.personal))
        if changes and not dry_run:
            edit = sheet.begin()
            edit.changed[number] = sheet.cells(dict.fromkeys(changes))
            sheet.write(edit)
        return Erased(1 if changes else 0)

    def _previewed(self, deliveries: Sequence[Delivery], *, again: bool) -> list[Preview]:
        rows: dict[int, Row | PermanentError] = {}
        for place, one in enumerate(deliveries):
            if not one.deleted:
                try:
                    rows[place] = self._records.row(one)
                except PermanentError as error:
                    rows[place] = error
        known = self._versions.find([one.id.decode(errors="replace") for one in deliveries])
        keys = {self._records.key_of(row) for row in rows.values() if not isinstance(row, PermanentError)}
        sheet = self._read(
            keys | {one.key for one in known.values() if one.key} | {one.id.decode() for one in deliveries}
        )
        return [
            self._preview(sheet, place, one, rows.get(place), known, again=again)
            for place, one in enumerate(deliveries)
        ]

    def _preview(
        self,
        sheet: TargetSheet,
        place: int,
        one: Delivery,
        row: Row | PermanentError | None,
        known: Mapping[str, WrittenRecord],
        *,
        again: bool,
    ) -> Preview:
        if isinstance(row, PermanentError):
            return Preview("refuse", str(row))
        wanted = self._wanted(place, one, row, known, again=again)
        if wanted is None:
            version = known[one.id.decode(errors="replace")].version
            if version > one.version:
                return older_preview(one.version, version)
            return Preview("nothing", "this version has been written")
        edit = sheet.begin()
        try:
            action = self._change(sheet, edit, wanted)
        except PermanentError as error:
            return Preview("refuse", str(error))
        shown: JsonValue = {name: _json(value) for name, value in (wanted.row or {}).items()}
        match action:
            case "created":
                return Preview("create", f"no row of {self._options.resource} has its key {wanted.key}", shown)
            case "updated":
                [number] = edit.changed
                changes = sheet.differs(number, wanted.row or {})
                told: JsonValue = {name: [_json(old), _json(new)] for name, (old, new) in changes.items()}
                return Preview("update", f"row {number} would change", {"changes": told})
            case "deleted":
                return Preview("delete", f"the row with the key {wanted.key or wanted.id} would go", None)
            case _:
                return Preview("nothing", "the sheet has it already" if wanted.row is not None else "no row has it")


def _json(value: object) -> JsonValue:
    return value if isinstance(value, str | bool | int) or value is None else str(value)
