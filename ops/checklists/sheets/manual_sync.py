"""Manual sync of one flow: preparing a sheet, importing it, and the figures by which its round is verified."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from sorbus.errors import SorbusError
from sorbus.ops.checklists.occurrences import Checklist
from sorbus.ops.checklists.sheets.answers import RowAnswer, RowFinding, judge
from sorbus.ops.checklists.sheets.changes import (
    ConfirmedRecord,
    ManualChange,
    OwnerRecord,
    TargetFields,
    absent,
    changes,
)
from sorbus.ops.checklists.sheets.figures import RoundFigure, Totals, contradictions, side_by_side, totals_of
from sorbus.ops.checklists.sheets.filled_file import read_filled
from sorbus.ops.checklists.sheets.prepared_sheet import PreparedSheet
from sorbus.ops.checklists.sheets.store import KnownRows, SheetStore
from sorbus.ops.checklists.sheets.workbook import SheetContent, to_xlsx, unwritable
from sorbus.ops.checklists.store import Checklists
from sorbus.state import State

MOST_ROWS = 5000
"""Changes in one sheet; more wait for the next one."""
_FEW = 10
"""So many confirmed records may be absent from the topic without a question."""


@dataclass(frozen=True, slots=True)
class Preparation:
    """What a sheet holds. `file` is empty in a dry run, and where nothing has changed and no round is due."""

    rows: Sequence[ManualChange]
    more: int
    left_out: Sequence[tuple[str, str]]
    owner: Totals
    sheet: PreparedSheet | None = None
    file: bytes = b""
    trouble: str = ""
    """Why changes of the owner may be missing."""

    def counts(self) -> dict[str, int]:
        """How many rows there are of each kind of change."""
        found: dict[str, int] = {}
        for row in self.rows:
            found[row.kind] = found.get(row.kind, 0) + 1
        return found


@dataclass(slots=True)
class SheetImport:
    """What came of a file. `finished`: the round is done and verified; `why_open`: why it isn't."""

    recorded: list[RowAnswer] = field(default_factory=list)
    findings: list[RowFinding] = field(default_factory=list)
    overtaken: list[RowAnswer] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    figures: list[RoundFigure] = field(default_factory=list)
    finished: bool = False
    why_open: str = ""

    def count(self, outcome: str) -> int:
        """Rows recorded with this outcome."""
        return sum(each.outcome == outcome for each in self.recorded) - (
            len(self.overtaken) if outcome == "done" else 0
        )


class ManualSync:
    """One flow's. `read_totals`: the target's own figures, or why they can't be read.

    Every call may raise TransientError or AuthError.
    """

    def __init__(self, checklists: Checklists, state: State, flow: str, read_totals: Totals | str) -> None:
        """UsageError if no flow of that name is done by hand."""
        self._checklists, self._read = checklists, read_totals
        self._flow = checklists.get(flow).flow
        self.data_type = checklists.flows[flow].data_type
        self.store = SheetStore(state, flow, self.data_type)
        manual = checklists.flows[flow].manual
        self._sums = tuple(manual.totals) if manual else ()

    @property
    def checklist(self) -> Checklist:
        """The flow's checklist now."""
        return self._checklists.get(self._flow)

    def prepare(
        self,
        records: Sequence[OwnerRecord],
        columns: tuple[str, ...],
        company: str,
        who: str,
        *,
        limit: int = MOST_ROWS,
        accept_deletes: bool = False,
        dry_run: bool = False,
        trouble: str = "",
    ) -> Preparation:
        """Lists what changed since it was last confirmed. SorbusError when too many records are absent.

        `trouble`: why changes of the owner may be missing; the sheet says so.
        """
        confirmed = self.store.confirmed()
        self._refuse_absence(records, confirmed, accept=accept_deletes)
        rows = list(changes(records, confirmed))
        left_out = [(one.id, one.error) for one in records if one.error]
        owner = self._totals(one.fields for one in records if one.fields is not None)
        owner = owner._replace(records=owner.records + len(left_out))
        left_out += [(row.id, why) for row in rows if (why := unwritable(row))]
        reasons = self.store.not_done()
        rows = [row._replace(last_reason=reasons.get(row.id, "")) for row in rows if not unwritable(row)]
        found = Preparation(rows[:limit], max(0, len(rows) - limit), left_out, owner, trouble=trouble)
        now = self.checklist
        is_due = now.due is not None and not now.is_done
        if dry_run or not (rows or is_due):
            return found
        sheet = self.store.add(now.round, who, owner, found.rows, more=found.more, left_out=len(left_out))
        content = SheetContent(
            sheet.code,
            self._flow,
            self.data_type,
            now.target,
            company,
            str(now.responsible.name),
            sheet.prepared_at,
            now.due,
            columns,
            found.rows,
            owner,
            isinstance(self._read, Totals),
            left_out,
            found.more,
            trouble,
        )
        return Preparation(found.rows, found.more, left_out, owner, sheet, to_xlsx(content), trouble)

    def import_file(
        self,
        path: Path,
        who: str,
        *,
        entered: Mapping[str, Decimal] | None = None,
        accept_difference: str = "",
        dry_run: bool = False,
    ) -> SheetImport:
        """Records what a person entered, and finishes the round if all is answered and the figures agree.

        SorbusError if the file can't be read at all; what is wrong with a row or a figure is in the result.
        """
        filled = read_filled(path)
        codes = {row.code.rpartition("-")[0] for row in filled.rows} | {filled.code}
        if not self.store.has_any(codes):
            raise SorbusError(
                f"{path.name} has no row that was prepared for {self._flow}: import it for the flow of its sheet"
            )
        numbers = {row.number for row in filled.rows if row.number}
        found = SheetImport(faults=list(filled.faults))

        def judged(known: KnownRows) -> list[RowAnswer]:
            each = list(judge(filled.rows, known.prepared, known.numbers))
            found.findings = [one for one in each if isinstance(one, RowFinding)]
            found.recorded = [one for one in each if isinstance(one, RowAnswer)]
            return found.recorded

        if dry_run:
            judged(self.store.known(codes, numbers))
        else:
            found.overtaken = self.store.record(codes, numbers, judged, who, path.name)
        figures = {**filled.figures, **(entered or {})}
        self._verify(found, figures, accept_difference or filled.why_different, who, dry_run=dry_run)
        return found

    def baseline(self, records: Sequence[OwnerRecord], who: str, reason: str, *, dry_run: bool = False) -> Totals:
        """Confirms that the target holds all records as the owner has them now; returns the owner's figures.

        SorbusError without a reason, or if a record's target fields can't be made.
        """
        if not reason.strip():
            raise SorbusError(f"{self._flow}: say how you know that the target holds what the owner has (-m)")
        if errors := [one for one in records if one.error]:
            raise SorbusError(
                f"{self._flow}: record {errors[0].id}: {errors[0].error}; fix it, or leave it out by `where:`"
            )
        owner = self._totals(one.fields for one in records if one.fields is not None)
        if not dry_run:
            known = self.store.confirmed()
            gone = [OwnerRecord(id, None) for id in absent((one.id for one in records), known)]
            sheet = self.store.add(self.checklist.round, who, owner, ())
            live = [one for one in records if one.fields is not None or one.id in known]
            self.store.baseline([*live, *gone], sheet.sheet, who, reason.strip())
        return owner

    def figures(
        self, entered: Mapping[str, Decimal] | None = None, *, pending: Sequence[RowAnswer] = ()
    ) -> list[RoundFigure]:
        """The figures now, side by side; `pending`: answers that a dry run has not recorded."""
        newest = self.store.newest()
        fields = {id: one.fields for id, one in self.store.confirmed().items()}
        fields |= {each.row.id: each.row.after for each in pending if each.outcome == "done"}
        confirmed = self._totals(each for each in fields.values() if each is not None)
        read = self._read if isinstance(self._read, Totals) else None
        return side_by_side(newest.owner if newest else None, confirmed, read, entered or {})

    def _verify(
        self, found: SheetImport, entered: Mapping[str, Decimal], accepted: str, who: str, *, dry_run: bool
    ) -> None:
        pending = found.recorded if dry_run else []
        found.figures = self.figures(entered, pending=pending)
        found.faults += contradictions(found.figures, entered)
        sheet, now = self.store.newest(), self.checklist
        if sheet is None or sheet.closed_at is not None:
            found.why_open = "the round of this sheet is finished already" if sheet else ""
            return
        left = sheet.left - sum(each.row.sheet == sheet.sheet and each.row.outcome is None for each in pending)
        if sheet.round != now.round:
            found.why_open = (
                f"sheet {sheet.code} was prepared for an earlier round, and lists nothing that changed since: prepare a"
                " sheet for this one"
            )
            return
        found.why_open = next(self._still_open(found, sheet, left, accepted), "")
        if found.why_open or dry_run:
            return
        if now.is_done:
            found.why_open = "this round is done already; what is recorded counts for the next one"
            return
        told = f"sheet {sheet.code}: {sheet.done} done, {sheet.not_done} not done; {summary(found.figures)}"
        told += f"; {sheet.left_out:,} left out" if sheet.left_out else ""
        told += f"; accepted: {accepted}" if any(one.agrees is False for one in found.figures) else ""
        self._checklists.finish(self._flow, who, told, now.round, found.figures)
        found.finished = True

    def _still_open(self, found: SheetImport, sheet: PreparedSheet, left: int, accepted: str) -> Iterator[str]:
        """Why the round can't be finished by this file."""
        if found.findings or found.faults:
            yield "rows or figures of the file need a correction"
        if left > 0:
            yield f"{left:,} row{'s are' if left != 1 else ' is'} not answered yet"
        if sheet.more:
            yield f"{sheet.more:,} more changes did not fit into sheet {sheet.code}: prepare the next one"
        unknown = [one.name for one in found.figures if one.agrees is None]
        if unknown:
            why = f" ({self._read})" if isinstance(self._read, str) else ""
            yield f"enter what the target holds: {', '.join(unknown)}{why}"
        differ = [one for one in found.figures if one.agrees is False]
        if differ and not accepted:
            told = "; ".join(f"{one.name}: {one.target:,} in the target, {one.confirmed:,} confirmed" for one in differ)
            yield f"figures differ ({told}): correct what is wrong, or say why that is right"

    def _totals(self, records: Iterator[TargetFields] | Sequence[TargetFields]) -> Totals:
        return totals_of(records, self._sums)

    def _refuse_absence(
        self, records: Sequence[OwnerRecord], confirmed: Mapping[str, ConfirmedRecord], *, accept: bool
    ) -> None:
        live = sum(one.fields is not None for one in confirmed.values())
        gone = absent((one.id for one in records), confirmed)
        if not accept and len(gone) > _FEW and len(gone) * 2 > live:
            raise SorbusError(
                f"{self._flow}: {len(gone):,} of {live:,} confirmed records are no longer on the topic of"
                f" {self.data_type}. If its owner really deleted them, repeat with --accept-deletes; if the topic was"
                " made again, wait until it is filled"
            )


def summary(figures: Sequence[RoundFigure]) -> str:
    """The figures in a line."""
    return "; ".join(
        f"{one.name}: owner {'?' if one.owner is None else f'{one.owner:,}'}, confirmed {one.confirmed:,}, target"
        f" {'?' if one.target is None else f'{one.target:,} ({one.how})'}"
        for one in figures
    )
