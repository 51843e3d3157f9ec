"""Judging what a person entered, row by row: what is recorded, what is refused and why. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Literal, NamedTuple

from sorbus.mapping.filters.text import as_text
from sorbus.ops.checklists.sheets.changes import FieldValue, TargetFields
from sorbus.ops.checklists.sheets.filled_file import FilledRow
from sorbus.ops.checklists.sheets.workbook import fitting, heads_of
from sorbus.spreadsheet.cells import Cell, UnusableCell, is_shortened, plain
from sorbus.spreadsheet.written_values import number_readings

Outcome = Literal["done", "not done", "outdated"]


class PreparedRow(NamedTuple):
    """A row as it was prepared, and what is recorded of it. `is_closed`: its sheet's round is finished."""

    sheet: int
    code: str
    number: int
    id: str
    before: TargetFields | None
    after: TargetFields | None
    outcome: Outcome | None
    reason: str
    target_number: str
    is_closed: bool


class RowAnswer(NamedTuple):
    """What is to be recorded of a row."""

    row: PreparedRow
    outcome: Outcome
    reason: str
    target_number: str


class RowFinding(NamedTuple):
    """A row that isn't recorded: its place in the file, the record, what is wrong, and how to fix it."""

    place: str
    record: str
    what: str
    fix: str

    def __str__(self) -> str:
        record = f" (record {self.record})" if self.record else ""
        return f"{self.place}{record}: {self.what}; {self.fix}"


def judge(
    rows: Iterable[FilledRow], prepared: Mapping[str, PreparedRow], numbers: Mapping[str, str]
) -> Iterator[RowAnswer | RowFinding]:
    """Each row's answer, or why it has none; rows that say nothing new are left out.

    `prepared`: the flow's rows by their code; `numbers`: target number -> the record that has it already.
    """
    said: dict[str, list[tuple[FilledRow, RowAnswer | RowFinding | None]]] = {}
    for place, row in enumerate(rows):
        said.setdefault(row.code or f"row {place}", []).append((row, _answer(row, prepared)))
    holders = dict(numbers)
    for several in said.values():
        filled, answer = several[0]
        if any(_words(other) != _words(filled) for other, _ in several):
            for other, _ in several:
                what = f"the row {other.code} is in the file {len(several)} times, with different answers"
                yield RowFinding(other.place, other.id, what, "keep the right one and import the file again")
            continue
        if isinstance(answer, RowAnswer) and (number := answer.target_number):
            holder = holders.setdefault(number, answer.row.id)
            if holder != answer.row.id:
                what = f"{number} is already the number of record {holder} in the target"
                yield RowFinding(filled.place, answer.row.id, what, "correct one of the two numbers")
                continue
        if answer is not None:
            yield answer


def _words(row: FilledRow) -> tuple[object, ...]:
    return row.is_done, row.reason, row.number, row.fault


def _answer(filled: FilledRow, prepared: Mapping[str, PreparedRow]) -> RowAnswer | RowFinding | None:
    """One row's, by itself."""

    def finding(what: str, fix: str) -> RowFinding:
        return RowFinding(filled.place, row.id if row is not None else filled.id, what, fix)

    row = prepared.get(filled.code)
    if row is None:
        if not filled.code:
            return finding("it has no row code", "rows can't be added here: a new record is entered at its owner")
        if filled.code.rpartition("-")[0] in {each.code for each in prepared.values()}:
            what = f"its sheet has no row {filled.code}: the record was erased (`sorbus forget`), or the code changed"
            return finding(what, "erase it in the target too and delete the row, or restore the code")
        return finding(f"no sheet of this flow has a row {filled.code}", "import it for the flow of its sheet")
    if filled.fault:
        return finding(filled.fault, "correct the cell and import the file again")
    if filled.is_done is None:
        if filled.reason and not row.outcome:
            return finding("it has a reason, but is not marked", "write done or not done")
        return None
    if filled.id and filled.id != row.id and not _is_rewritten(filled.id, row, prepared):
        what = f"the row {filled.code} is of record {row.id}, and the file says {filled.id}"
        if is_shortened(filled.id) or _as_number(filled.id) == _as_number(row.id) is not None:
            return finding(what, "a program changed how the IDs are written: restore them, or import the .xlsx file")
        return finding(what, "a part of the rows was moved or sorted by itself; prepare the sheet again")
    if altered := _altered(filled, row):
        return finding(altered, "values are changed at their owner; restore the cell, or prepare the sheet again")
    return _outcome(filled, row, finding_of=finding)


def _outcome(
    filled: FilledRow, row: PreparedRow, *, finding_of: Callable[[str, str], RowFinding]
) -> RowAnswer | RowFinding | None:
    outcome: Outcome = "done" if filled.is_done else "not done"
    number = filled.number or row.target_number
    if row.outcome == "outdated":
        return None
    if row.outcome == outcome and (row.reason, row.target_number) == (filled.reason, number):
        return None
    if row.is_closed:
        return finding_of(
            "the round of this sheet is finished", "prepare a new sheet: it lists the record again if it is still open"
        )
    if row.outcome == "done" and outcome == "not done":
        return finding_of(
            "it is recorded as done", "to have it listed again: `sorbus checklists reopen FLOW RECORD -m REASON`"
        )
    if outcome == "not done" and not filled.reason:
        return finding_of("it is marked not done without a reason", "enter the reason beside it")
    return RowAnswer(row, outcome, filled.reason, number)


def _altered(filled: FilledRow, row: PreparedRow) -> str:
    """Which value differs from what was prepared; columns that the person has deleted say nothing."""
    fields = row.after if row.after is not None else row.before or {}
    heads = heads_of(list(fields))[4:-3]
    for head, (name, value) in zip(heads, fields.items(), strict=True):
        if head in filled.values and not _is_same(filled.values[head], value):
            return f"{name} isn't what it was when the sheet was prepared"
    return ""


def _is_same(cell: Cell, value: FieldValue) -> bool:
    if isinstance(cell, UnusableCell):
        return False
    found = plain(cell)
    if isinstance(value, bool) or isinstance(found, bool):
        return found is value or as_text(found).casefold() == as_text(value)
    if isinstance(value, Decimal):
        if isinstance(found, int | Decimal):
            return value == found
        return isinstance(found, str) and value in [number for _, number in number_readings(found)]
    return _spaces(as_text(found)) == _spaces(fitting(as_text(value)))


def _is_rewritten(written: str, row: PreparedRow, prepared: Mapping[str, PreparedRow]) -> bool:
    """Whether it is the record's id without its leading zeros, as programs save text files, and no other record's."""
    number = _as_number(written)
    if number is None or number != _as_number(row.id):
        return False
    return not any(each.id != row.id and _as_number(each.id) == number for each in prepared.values())


def _as_number(text: str) -> Decimal | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _spaces(text: str) -> str:
    return " ".join(text.split())
