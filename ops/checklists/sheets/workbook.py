"""The prepared workbook: a row per change, for people who edit it in Excel or LibreOffice, and the figures to enter."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from openpyxl import Workbook
from openpyxl.cell.cell import Cell, MergedCell
from openpyxl.styles import Alignment, Font, PatternFill
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.datavalidation import DataValidation
from openpyxl.worksheet.properties import PageSetupProperties
from openpyxl.worksheet.worksheet import Worksheet

from sorbus.mapping.filters.text import as_text
from sorbus.ops.checklists.sheets.changes import FieldValue, ManualChange
from sorbus.ops.checklists.sheets.figures import Totals
from sorbus.spreadsheet.cells import escaped

ROW, CHANGE, ID, DIFFERENCE = "Row", "Change", "Record ID", "What to do"
DONE, REASON, NUMBER = "Done?", "Reason if not done", "Number in the target"
MARKS = ("done", "not done")
CHANGES, FIGURES, LEFT_OUT = "Changes", "Figures", "Left out"
SHEET_CODE = "Code of this sheet"
YOUR_FIGURE = "In the target (enter)"
WHY_DIFFERENT = "If a figure differs: why"
LONGEST_TEXT = 32_767
"""What a cell holds, in UTF-16 code units; most characters are one, emoji two."""
_LONGEST_SHOWN = 300
"""Characters of a value that `what_to_do` repeats; its own cell has all of them."""
_DIGITS = 15
_WIDEST = 50
AnyCell = Cell | MergedCell
_WRAPPED, _BOLD, _STRUCK = Alignment(vertical="top", wrap_text=True), Font(bold=True), Font(strike=True)
_HEAD, _ENTER = PatternFill("solid", fgColor="1F3A5F"), PatternFill("solid", fgColor="FFF4CC")
_KINDS = {
    "new": PatternFill("solid", fgColor="E3F2E1"),
    "changed": PatternFill("solid", fgColor="E1ECF7"),
    "deleted": PatternFill("solid", fgColor="F8E1E1"),
    "check": PatternFill("solid", fgColor="F3E8D8"),
}


@dataclass(frozen=True, slots=True)
class SheetContent:
    """What a workbook says. `figures`: those of the owner; `read_by_sorbus`: the target's are not asked of the person.

    `left_out`: (record, why) of records whose fields can't be made.
    """

    code: str
    flow: str
    data_type: str
    target: str
    company: str
    responsible: str
    prepared_at: datetime
    due: datetime | None
    columns: tuple[str, ...]
    rows: Sequence[ManualChange]
    figures: Totals
    read_by_sorbus: bool
    left_out: Sequence[tuple[str, str]] = ()
    more: int = 0
    """Changes that didn't fit; the next sheet lists them."""
    trouble: str = ""
    """Why changes of the owner may be missing."""


def row_code(code: str, number: int) -> str:
    """How a row is found again, wherever it is moved: no program takes it for a number or a date."""
    return f"{code}-{number}"


def unwritable(change: ManualChange) -> str:
    """Why the change can't be in a sheet; empty: it can. A text that is cut would be transferred without its end."""
    for name, value in (change.after or {}).items():
        if (length := _length(as_text(value))) > LONGEST_TEXT:
            return (
                f"field {name} has {length:,} characters, and a cell holds {LONGEST_TEXT:,}: shorten it at its owner,"
                " or by a rule such as `truncate`"
            )
    return ""


def _length(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def fitting(text: str) -> str:
    """As much of a text as a cell holds."""
    if len(text) * 2 <= LONGEST_TEXT:
        return text
    return text.encode("utf-16-le", "surrogatepass")[: LONGEST_TEXT * 2].decode("utf-16-le", "ignore")


def what_to_do(change: ManualChange) -> str:
    """The row in words: each field with its old and new value, and why it was not done last time."""
    return _change_in_words(change) + (f"\nNot done last time: {change.last_reason}" if change.last_reason else "")


def _change_in_words(change: ManualChange) -> str:
    before, after = change.before or {}, change.after or {}
    if change.kind == "new":
        return "Create it."
    if change.kind == "deleted":
        return "Delete it."
    if change.kind == "check":
        return "Check it: it should be exactly like this." if change.after is not None else "Check that it is deleted."
    return "\n".join(f"{name}: {_shown(before.get(name))} → {_shown(after.get(name))}" for name in change.differing)


def to_xlsx(content: SheetContent) -> bytes:
    """The workbook's bytes."""
    book = Workbook()
    book.remove(book.worksheets[0])
    _changes(book.create_sheet(CHANGES), content)
    _figures(book.create_sheet(FIGURES), content)
    if content.left_out:
        _left_out(book.create_sheet(LEFT_OUT), content)
    target = io.BytesIO()
    book.save(target)
    return target.getvalue()


def heads_of(columns: Sequence[str]) -> list[str]:
    """The header of the changes: a target field that is called like a column of Sorbus's gets the word `field`."""
    own = (ROW, CHANGE, ID, DIFFERENCE, DONE, REASON, NUMBER)
    taken = {name.casefold() for name in own}
    named = [f"{name} (field)" if name.casefold() in taken else name for name in columns]
    return [ROW, CHANGE, ID, DIFFERENCE, *named, DONE, REASON, NUMBER]


def _changes(sheet: Worksheet, content: SheetContent) -> None:
    heads = heads_of(content.columns)
    _header(sheet, heads)
    first_mark = len(heads) - 2
    for number, change in enumerate(content.rows, 1):
        line = number + 1
        shown = change.after if change.after is not None else change.before or {}
        differing = set(change.differing) if change.kind == "changed" else set()
        texts = (row_code(content.code, number), change.kind, change.id, what_to_do(change))
        for place, text in enumerate(texts, 1):
            _text(sheet.cell(line, place), text)
        sheet.cell(line, 2).fill = _KINDS[change.kind]
        for place, name in enumerate(content.columns, 5):
            cell = sheet.cell(line, place)
            _value(cell, shown.get(name))
            if name in differing:
                cell.font, cell.fill = _BOLD, _KINDS["changed"]
            elif change.after is None:
                cell.font = _STRUCK
        for place in range(first_mark, first_mark + 3):
            cell = sheet.cell(line, place)
            cell.fill, cell.number_format = _ENTER, "@"
        if change.target_number:
            _text(sheet.cell(line, first_mark + 2), change.target_number)
    marks = DataValidation("list", formula1=f'"{",".join(MARKS)}"', allow_blank=True)
    marks.error, marks.errorTitle = "Write done, or not done with a reason.", DONE
    letter = get_column_letter(first_mark)
    marks.add(f"{letter}2:{letter}{max(2, len(content.rows) + 1)}")
    sheet.add_data_validation(marks)
    _widths(sheet, heads)
    sheet.freeze_panes = "D2"
    sheet.auto_filter.ref = sheet.dimensions
    sheet.page_setup.orientation, sheet.page_setup.paperSize = "landscape", 9
    sheet.page_setup.fitToHeight, sheet.sheet_properties.pageSetUpPr = 0, PageSetupProperties(fitToPage=True)
    sheet.print_title_rows = "1:1"


def _figures(sheet: Worksheet, content: SheetContent) -> None:
    due = f", due {content.due.astimezone():%Y-%m-%d %H:%M %Z}" if content.due else ""
    left = f"{content.more:,} more changes did not fit; the next sheet lists them." if content.more else ""
    first = f"1. Make each change of the sheet “{CHANGES}” in {content.target}."
    if not content.rows:
        first = f"1. Nothing has changed since the last round. Compare {content.target} all the same."
    told = (
        f"{content.company}: {content.data_type} into {content.target}, by hand",
        f"Sheet {content.code}, prepared {content.prepared_at.astimezone():%Y-%m-%d %H:%M %Z} for"
        f" {content.responsible}{due}.",
        first,
        f"2. In its column “{DONE}” write done, or not done with a reason. A row left empty is asked for again.",
        "3. Enter the figures below as the target shows them, then hand this file back: on the checklist's page of the"
        f" console, or by sorbus checklists import {content.flow} FILE.",
        "Rows may be sorted, filtered or deleted. Values changed here change nothing: change them at the owner.",
        left,
        f"Attention: {content.trouble}. What has changed there since is not in this sheet." if content.trouble else "",
    )
    line = 1
    for text in filter(None, told):
        _text(sheet.cell(line, 1), text)
        line += 1
    sheet.cell(1, 1).font = Font(bold=True, size=14)
    _text(sheet.cell(line, 1), SHEET_CODE)
    _text(sheet.cell(line, 2), content.code)
    line += 2
    heads = ("Figure", "At the owner when prepared", YOUR_FIGURE)
    for place, head in enumerate(heads, 1):
        cell = sheet.cell(line, place, head)
        cell.font, cell.fill = Font(bold=True, color="FFFFFF"), _HEAD
    for name, value in content.figures.by_name().items():
        line += 1
        _text(sheet.cell(line, 1), name)
        _value(sheet.cell(line, 2), value)
        sheet.cell(line, 3).fill = _ENTER
        if content.read_by_sorbus:
            _text(sheet.cell(line, 3), "read by Sorbus")
    line += 2
    _text(sheet.cell(line, 1), WHY_DIFFERENT)
    sheet.cell(line, 3).fill = _ENTER
    for place, width in ((1, 30), (2, 28), (3, 28)):
        sheet.column_dimensions[get_column_letter(place)].width = width


def _left_out(sheet: Worksheet, content: SheetContent) -> None:
    _header(sheet, (ID, "Why it is not in this sheet"))
    for line, (id, why) in enumerate(content.left_out, 2):
        _text(sheet.cell(line, 1), id)
        _text(sheet.cell(line, 2), why)
    _widths(sheet, (ID, "Why it is not in this sheet"))


def _header(sheet: Worksheet, heads: Sequence[str]) -> None:
    for place, head in enumerate(heads, 1):
        cell = sheet.cell(1, place)
        _text(cell, head)
        cell.font, cell.fill = Font(bold=True, color="FFFFFF"), _HEAD


def _value(cell: AnyCell, value: FieldValue) -> None:
    match value:
        case None:
            pass
        case Decimal() if len(f"{value:f}".replace(".", "").strip("-0")) <= _DIGITS and abs(value) < 10**_DIGITS:
            cell.value = value
            # not General, which shows and exports 123456789012 as 1.23457E+11
            cell.number_format = _number_format(value)
        case _:
            _text(cell, as_text(value))


def _text(cell: AnyCell, text: str) -> None:
    """Text stays text: no formula, no number, no date, even when a person edits the cell."""
    cell.value = escaped(fitting(text))
    cell.data_type = "s"
    cell.number_format, cell.quotePrefix = "@", True
    cell.alignment = _WRAPPED


def _shown(value: FieldValue) -> str:
    text = as_text(value)
    return f"{text[:_LONGEST_SHOWN]}…" if len(text) > _LONGEST_SHOWN else text or "(empty)"


def _number_format(value: Decimal) -> str:
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int)
    return "0." + "0" * -exponent if exponent < 0 else "0"


def _widths(sheet: Worksheet, heads: Sequence[str]) -> None:
    for place, head in enumerate(heads, 1):
        longest = len(head) + 4
        for (cell,) in sheet.iter_rows(min_row=2, max_row=200, min_col=place, max_col=place):
            longest = max(longest, *(len(line) + 2 for line in str(cell.value or "").splitlines() or [""]))
        sheet.column_dimensions[get_column_letter(place)].width = min(_WIDEST, longest)
