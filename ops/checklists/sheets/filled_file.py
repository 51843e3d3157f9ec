"""What a person has entered in a prepared sheet, read row by row: sorted, filtered, renamed or saved by any program."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import NamedTuple

from sorbus.errors import SorbusError, TransientError
from sorbus.mapping.filters.text import as_text
from sorbus.ops.checklists.sheets.workbook import (
    DONE,
    ID,
    NUMBER,
    REASON,
    ROW,
    WHY_DIFFERENT,
    YOUR_FIGURE,
)
from sorbus.spreadsheet.cells import Cell, UnusableCell, is_empty, plain
from sorbus.spreadsheet.files import WORKBOOKS
from sorbus.spreadsheet.sheet_rows import SheetForm, SheetRow, SheetRows, read_sheets
from sorbus.spreadsheet.xlsx import XlsxFile

LARGEST = 20_000_000
"""Bytes of a file; a prepared sheet has about 100 for each row."""
MOST_ROWS = 50_000
LONGEST = 60.0
"""Seconds that reading a file may take."""
_DONE = frozenset({"done", "yes", "y", "x", "ok", "true", "1", "✓", "✔"})
_NOT_DONE = frozenset({"not done", "no", "n", "false", "0"})


class FilledRow(NamedTuple):
    """A row of the file. `place` names it for people; `values` are the cells by header, those of Sorbus's columns too.

    `fault`: why the row can't be read.
    """

    place: str
    code: str
    id: str
    is_done: bool | None
    """None: nothing was entered."""
    reason: str
    number: str
    values: Mapping[str, Cell]
    fault: str = ""


class FilledFile(NamedTuple):
    """The whole file. `figures`: as entered; `faults`: figures that are no numbers."""

    rows: list[FilledRow]
    figures: Mapping[str, Decimal]
    why_different: str
    faults: list[str]


def read_filled(path: Path) -> FilledFile:
    """Reads a workbook or a CSV file. SorbusError says why it can't be read at all."""
    if path.stat().st_size > LARGEST:
        raise SorbusError(
            f"{path.name} is larger than {LARGEST // 1_000_000} MB; a prepared sheet is smaller: is it one?"
        )
    try:
        rows = list(_rows(path))
        is_workbook = path.suffix.lower() in WORKBOOKS
        figures, why, faults = _figures(path) if is_workbook else ({}, "", [])
    except TransientError as error:
        raise SorbusError(str(error)) from error  # a file doesn't become readable by waiting
    return FilledFile(rows, figures, why, faults)


def _rows(path: Path) -> Iterator[FilledRow]:
    ends_at = time.monotonic() + LONGEST
    sheets = [_changes_tab(path)] if path.suffix.lower() in WORKBOOKS else []
    for sheet in read_sheets(path, sheets, SheetForm((ROW, DONE))):
        if time.monotonic() > ends_at:
            raise SorbusError(f"{path.name} takes longer than {LONGEST:.0f} s to read: nothing was recorded")
        if sheet is None:
            continue
        try:
            if sheet.last > MOST_ROWS:
                raise SorbusError(f"{path.name} has {sheet.last:,} rows, and at most {MOST_ROWS:,} are read")
            columns = {name: place for place, name in sheet.header.names.items()}
            for row in sheet.rows():
                if row.fault is not None or not all(is_empty(cell) for cell in row.cells):
                    yield _row(sheet, row, columns)
        finally:
            sheet.close()


def _changes_tab(path: Path) -> str:
    """The sheet with the changes, whatever a person has called it."""
    book = XlsxFile(path)
    try:
        for tab in book.tabs:
            for _, cells in book.rows(tab):
                texts = {_text(cell) for cell in cells}
                if {ROW, DONE} <= texts:
                    return tab.name
        known = ", ".join(tab.name for tab in book.tabs)
        raise SorbusError(
            f"{path.name} has no sheet with the columns {ROW} and {DONE} (it has {known}): is it a sheet that Sorbus"
            " prepared? `sorbus checklists sheet FLOW` prepares one"
        )
    finally:
        book.close()


def _row(sheet: SheetRows, row: SheetRow, columns: Mapping[str, int]) -> FilledRow:
    cells = {name: row.cells[at] if at < len(row.cells) else None for name, at in columns.items()}
    place = sheet.place(row.number)
    if row.fault is not None:
        return FilledRow(place, "", "", None, "", "", {}, f"the row {row.fault.words}")
    for name in (ROW, ID, DONE, REASON, NUMBER):
        if isinstance(cell := cells.get(name), UnusableCell):
            return FilledRow(
                place, _text(cells.get(ROW)), _text(cells.get(ID)), None, "", "", cells, f"{name} {cell.words}"
            )
    mark = " ".join(_text(cells.get(DONE)).casefold().split())
    is_done = True if mark in _DONE else False if mark in _NOT_DONE else None
    fault = f"“{mark}” under {DONE} is neither done nor not done" if mark and is_done is None else ""
    texts = {name: _text(cells.get(name)) for name in (ROW, ID, REASON, NUMBER)}
    return FilledRow(place, texts[ROW], texts[ID], is_done, texts[REASON], texts[NUMBER], cells, fault)


def _figures(path: Path) -> tuple[dict[str, Decimal], str, list[str]]:
    """The figures entered, why they differ, and what can't be read of them."""
    book = XlsxFile(path)
    found: dict[str, Decimal] = {}
    why, faults, column = "", list[str](), None
    try:
        for tab in book.tabs:
            for number, cells in book.rows(tab):
                texts = [_text(cell) for cell in cells]
                if YOUR_FIGURE in texts:
                    column = texts.index(YOUR_FIGURE)
                    continue
                if column is None or column >= len(cells) or not texts[column] or not texts[0]:
                    continue
                if texts[0] == WHY_DIFFERENT:
                    why = texts[column]
                    continue
                try:
                    found[texts[0]] = _number(cells[column])
                except ValueError:
                    if texts[column] != "read by Sorbus":
                        faults.append(
                            f"{path.name}, sheet {tab.name}, row {number}: {texts[0]}: {texts[column]!r} is not"
                            " a valid number; write it like 1234.56"
                        )
            if column is not None:
                break
    finally:
        book.close()
    return found, why, faults


def _number(cell: Cell) -> Decimal:
    value = plain(cell)
    if isinstance(value, bool) or value is None:
        raise ValueError
    try:
        number = Decimal(as_text(value).strip())
    except InvalidOperation as error:
        raise ValueError from error
    if not number.is_finite():
        raise ValueError
    return number


def _text(cell: Cell) -> str:
    value = plain(cell)
    if isinstance(value, Decimal) and value == value.to_integral_value():
        return str(int(value))
    return as_text(value).strip()
