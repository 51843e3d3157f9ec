"""The consumer of a spreadsheet: a batch is one new file in place of the old one, then its versions in the state.

In that order: a crash in between repeats a batch on a file that has it already, and the same values are written again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, JsonValue

from sorbus.abilities import Erased, Preview, Resource, TargetTotals, older_preview
from sorbus.connector import BoundFlow, BoundSystem, Delivery, RejectedDelivery, Step
from sorbus.consumers.spreadsheet.batch_rows import BatchRows, Holder, Wanted
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
            try:
                if not delivery.deleted:
                    rows[place] = self._records.row(delivery)
            except PermanentError as error:
                refused.append(RejectedDelivery(place, error))
        failed = {refusal.place for refusal in refused}
        todo = [(place, one) for place, one in enumerate(deliveries) if place not in failed]
        fault: TransientError | None = None
        with self._versions.session() as session:
            known = session.find([_id(one) for _, one in todo])
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
    ) -> Wanted | None:
        id = _id(one)
        before = known.get(id)
        if before is not None and before.is_ahead_of(one, again=again):
            return None
        key = self._records.key_of(row) if row is not None else ""
        return Wanted(place, id, one.version, row, key, self._held(id, before), before)

    def _held(self, id: str, before: WrittenRecord | None) -> str | None:
        """The key of the record's row; None where it was never written and the key column isn't the id."""
        if self._records.fills_key:
            return self._records.key_text(id)
        return before.key if before is not None else None

    def _write(self, session: WrittenSession, wanted: Sequence[Wanted]) -> list[RejectedDelivery]:
        sheet = self._read({key for one in wanted for key in one.keys})
        rows = self._rows(sheet, wanted, session.holders(_keys(sheet, wanted)))
        edit, done, refused = sheet.begin(), dict[str, WrittenRecord](), list[RejectedDelivery]()
        outcomes: Counter[str] = Counter()
        for one in wanted:
            if (error := rows.refused.get(one.place)) is not None:
                refused.append(RejectedDelivery(one.place, error))
                continue
            outcomes[self._change(sheet, edit, one, rows.number(one.place))] += 1
            key = one.key if one.row is not None else None
            if one.row is None and self._flow.flow.deletes != "hard" and one.before is not None:
                key = one.before.key  # its row stays
            done[one.id] = WrittenRecord(one.version, key)
        if not edit.is_empty:
            session.put_mark(sheet.write(edit, session.mark()).text)
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

    def _rows(self, sheet: TargetSheet, wanted: Sequence[Wanted], holders: Mapping[str, Holder]) -> BatchRows:
        unwritable: dict[int, PermanentError] = {}
        for one in wanted:
            try:
                if one.row is not None and sheet.encoding is not None:
                    self._records.check_text(one.row, self._style, sheet.encoding)
            except PermanentError as error:
                unwritable[one.place] = error
        flow = self._flow.flow
        return BatchRows(sheet, wanted, holders, flow.data_type, frees=flow.deletes == "hard", refused=unwritable)

    def _change(self, sheet: TargetSheet, edit: SheetEdit, one: Wanted, number: int | None) -> str:
        """Adds the record's change to `edit`; what it is."""
        if one.row is None:
            return self._delete(sheet, edit, number)
        row = dict(one.row)
        if self._flow.flow.deletes == "soft":
            row[self._options.deleted_column] = None
        if number is None:
            edit.added.append(sheet.cells(row))
            return "created"
        changes = sheet.differs(number, row)
        if not changes:
            return "skipped"
        edit.changed[number] = sheet.cells({name: row[name] for name in changes})
        return "updated"

    def _delete(self, sheet: TargetSheet, edit: SheetEdit, number: int | None) -> str:
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
        sheet, number, _ = self._row_now(id)
        return {name: _json(value) for name, value in sheet.values(number).items()} if number is not None else None

    def erase(self, id: str, *, dry_run: bool = False) -> Erased:
        """See `sorbus.abilities.SupportsErasure`: empties personal cells of a row that a delete left."""
        sheet, number, doubt = self._row_now(id)
        if number is None:
            return Erased(0, doubt)
        if self._flow.flow.deletes == "hard":
            left = f"{self._path.name} still has its row {number}: see who writes there, and delete it"
            return Erased(0, left)
        changes = sheet.differs(number, dict.fromkeys(self._records.personal))
        if changes and not dry_run:
            self._empty(sheet, number, list(changes))
        return Erased(1 if changes else 0)

    def _empty(self, sheet: TargetSheet, number: int, columns: Sequence[str]) -> None:
        edit, fault = sheet.begin(), None
        edit.changed[number] = sheet.cells(dict.fromkeys(columns))
        with self._versions.session() as session:
            try:
                session.put_mark(sheet.write(edit, session.mark()).text)
            except TransientError as error:  # of the file, and not of the state
                fault = error
        if fault is not None:
            raise fault

    def _row_now(self, id: str) -> tuple[TargetSheet, int | None, str]:
        """The sheet, the record's row in it, and what may be its row as well."""
        before = self._versions.find([id]).get(id)
        one = Wanted(0, id, 0, None, "", self._held(id, before), before)
        sheet = self._read(one.keys)
        rows = self._rows(sheet, [one], self._versions.holders(_keys(sheet, [one])))
        if (error := rows.refused.get(0)) is not None:
            return sheet, None, str(error)
        return sheet, rows.number(0), ""

    def _previewed(self, deliveries: Sequence[Delivery], *, again: bool) -> list[Preview]:
        made: dict[int, Row | PermanentError | None] = {}
        for place, one in enumerate(deliveries):
            try:
                made[place] = None if one.deleted else self._records.row(one)
            except PermanentError as error:
                made[place] = error
        sound = {place: row for place, row in made.items() if not isinstance(row, PermanentError)}
        known = self._versions.find([_id(deliveries[place]) for place in sound])
        wanted = {
            place: found
            for place, row in sound.items()
            if (found := self._wanted(place, deliveries[place], row, known, again=again)) is not None
        }
        every = list(wanted.values())
        sheet = self._read({key for one in every for key in one.keys})
        rows = self._rows(sheet, every, self._versions.holders(_keys(sheet, every)))
        return [
            Preview("refuse", str(row))
            if isinstance(row := made[place], PermanentError)
            else self._preview(sheet, rows, one, wanted.get(place), known)
            for place, one in enumerate(deliveries)
        ]

    def _preview(
        self,
        sheet: TargetSheet,
        rows: BatchRows,
        one: Delivery,
        wanted: Wanted | None,
        known: Mapping[str, WrittenRecord],
    ) -> Preview:
        if wanted is None:
            version = known[_id(one)].version
            if version > one.version:
                return older_preview(one.version, version)
            return Preview("nothing", "this version has been written")
        if (error := rows.refused.get(wanted.place)) is not None:
            return Preview("refuse", str(error))
        number = rows.number(wanted.place)
        action = self._change(sheet, sheet.begin(), wanted, number)
        shown: JsonValue = {name: _json(value) for name, value in (wanted.row or {}).items()}
        match action:
            case "created":
                return Preview("create", f"no row of {self._options.resource} has its key {wanted.key}", shown)
            case "updated":
                assert number is not None
                changes = sheet.differs(number, wanted.row or {})
                told: JsonValue = {name: [_json(old), _json(new)] for name, (old, new) in changes.items()}
                return Preview("update", f"row {number} would change", {"changes": told})
            case "deleted":
                return Preview("delete", f"the row with the key {wanted.held} would go", None)
            case _:
                return Preview("nothing", "the sheet has it already" if wanted.row is not None else "no row has it")


def _id(delivery: Delivery) -> str:
    return delivery.id.decode(errors="replace")


def _keys(sheet: TargetSheet, wanted: Sequence[Wanted]) -> set[str]:
    """The keys whose holders decide which row is whose."""
    return {key for one in wanted for held in one.keys for key in (held, *sheet.alike(held))}


def _json(value: object) -> JsonValue:
    return value if isinstance(value, str | bool | int) or value is None else str(value)
