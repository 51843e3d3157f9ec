"""What a person has entered in a prepared sheet, read row by row: sorted, filtered, renamed or saved by any program."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
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
    SHEET_CODE,
    WHY_DIFFERENT,
    YOUR_FIGURE,
)
from sorbus.spreadsheet.cells import Cell, UnusableCell, is_empty, plain
from sorbus.spreadsheet.files import SUFFIXES, WORKBOOKS, lock_of
from sorbus.spreadsheet.sheet_rows import SheetForm, SheetRow, SheetRows, read_sheets
from sorbus.spreadsheet.xlsx import XlsxFile

LARGEST = 20_000_000
"""Bytes of a file; a prepared sheet has about 100 for each row."""
LARGEST_UNPACKED = 300_000_000
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
    """The whole file. `figures`: as entered; `faults`: figures that are no numbers; `code`: its sheet's, if it says."""

    rows: list[FilledRow]
    figures: Mapping[str, Decimal]
    why_different: str
    faults: list[str]
    code: str = ""


def read_filled(path: Path) -> FilledFile:
    """Reads a workbook or a CSV file. SorbusError says why it can't be read at all."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise SorbusError(f"{path.name}: {suffix or 'such'} files can't be read: save it as .xlsx or .csv")
    if path.stat().st_size > LARGEST:
        raise SorbusError(
            f"{path.name} is larger than {LARGEST // 1_000_000} MB; a prepared sheet is smaller: is it one?"
        )
    try:
        if lock := lock_of(path):
            raise lock.error(path)  # its marks may not be saved yet
        if suffix not in WORKBOOKS:
            return FilledFile(list(_rows(path, [])), {}, "", [])
        changes_tab, figures = _look_through(path)
        return figures._replace(rows=list(_rows(path, [changes_tab])))
    except TransientError as error:
        raise SorbusError(str(error)) from error  # a file doesn't become readable by waiting


def _rows(path: Path, sheets: list[str]) -> Iterator[FilledRow]:
    in_time = _deadline(path)
    for sheet in read_sheets(path, sheets, SheetForm((ROW, DONE))):
        in_time()
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


def _look_through(path: Path) -> tuple[str, FilledFile]:
    """The sheet with the changes, whatever a person has called it, and the file's figures; each sheet is read once."""
    in_time = _deadline(path)
    book = XlsxFile(path)
    try:
        unpacked = sum(part.file_size for part in book.infos)
        if unpacked > LARGEST_UNPACKED:
            raise SorbusError(
                f"{path.name} unpacks to {unpacked // 1_000_000:,} MB; a prepared sheet is smaller: is it one?"
            )
        changes_tab, figures = None, FilledFile([], {}, "", [])
        for tab in book.tabs:
            entered = _FiguresTab(path.name, tab.name)
            for number, cells in book.rows(tab):
                in_time()
                texts = [_text(cell) for cell in cells]
                if changes_tab is None and {ROW, DONE} <= set(texts):
                    changes_tab = tab.name
                    break
                entered.see(number, cells, texts)
            if entered.is_found and not figures.code:
                figures = FilledFile([], entered.found, entered.why, entered.faults, entered.code)
        if changes_tab is None:
            known = ", ".join(tab.name for tab in book.tabs)
            raise SorbusError(
                f"{path.name} has no sheet with the columns {ROW} and {DONE} (it has {known}): is it a sheet that"
                " Sorbus prepared? `sorbus checklists sheet FLOW` prepares one"
            )
        return changes_tab, figures
    finally:
        book.close()


def _deadline(path: Path) -> Callable[[], None]:
    """Raises SorbusError once reading the file has taken too long."""
    ends_at = time.monotonic() + LONGEST

    def in_time() -> None:
        if time.monotonic() > ends_at:
            raise SorbusError(f"{path.name} takes longer than {LONGEST:.0f} s to read: nothing was recorded")

    return in_time


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


class _FiguresTab:
    """The figures entered in a sheet of the workbook, why they differ, and what can't be read of them."""

    def __init__(self, file: str, tab: str) -> None:
        self._where = f"{file}, sheet {tab}"
        self._column: int | None = None
        self.found: dict[str, Decimal] = {}
        self.faults: list[str] = []
        self.code = self.why = ""

    @property
    def is_found(self) -> bool:
        """Whether this is the sheet with the figures."""
        return self._column is not None

    def see(self, number: int, cells: Sequence[Cell], texts: Sequence[str]) -> None:
        """The next row, and its cells' texts."""
        if texts[0] == SHEET_CODE and len(texts) > 1:
            self.code = texts[1]
        if YOUR_FIGURE in texts:
            self._column = texts.index(YOUR_FIGURE)
            return
        column = self._column
        if column is None or column >= len(cells) or not texts[column] or not texts[0]:
            return
        if texts[0] == WHY_DIFFERENT:
            self.why = texts[column]
            return
        try:
            self.found[texts[0]] = _number(cells[column])
        except ValueError:
            if texts[column] != "read by Sorbus":
                self.faults.append(
                    f"{self._where}, row {number}: {texts[0]}: {texts[column]!r} is not a valid number; write it like"
                    " 1234.56"
                )


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
