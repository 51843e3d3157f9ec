"""One sheet of one file: its header and its rows, read once into a temporary file and then as often as needed.

A row can be judged only once the whole sheet is known: its keys, how its columns write numbers, its merged cells.
"""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple

from sorbus.errors import TransientError
from sorbus.spreadsheet.cells import Cell, UnusableCell, is_empty, merged_cell
from sorbus.spreadsheet.files import WORKBOOKS
from sorbus.spreadsheet.header import SEARCHED_ROWS, Header, find_header
from sorbus.spreadsheet.text_file import (
    DELIMITERS,
    TextForm,
    declared_delimiter,
    encoding_of,
    first_rows,
    text_rows,
)
from sorbus.spreadsheet.xlsx import Area, Row, Tab, XlsxFile, column_letter

MORE_CELLS = UnusableCell(
    "more cells than the header",
    "has more cells than the header, so that nobody knows which belong to which: put a cell that holds a delimiter into"
    " quotation marks, or give every column a name",
)
_CHUNK = 500
_TALL = 1000


class SheetForm(NamedTuple):
    """What the map says about a sheet; None: it is found out."""

    required: tuple[str, ...]
    """Names that the header must have."""
    optional: tuple[str, ...] = ()
    header_row: int | None = None
    header_rows: int = 1
    encoding: str | None = None
    delimiter: str | None = None


class SheetRow(NamedTuple):
    """A row of a sheet. `fault`: why it can't be used as it is; `line`: how one begins that can't be split."""

    number: int
    cells: Sequence[Cell]
    fault: UnusableCell | None = None
    line: str = ""


class SheetRows:
    """A sheet that was read. `where` names it for people; `said`: what was found out about it."""

    def __init__(self, where: str, said: str) -> None:
        self.where, self.said = where, said
        self.last = 0
        """The last row with a value."""
        self.tab: str | None = None
        self.text_form: TextForm | None = None
        self.header: Header
        self.above: Sequence[SheetRow] = ()
        """The rows above the header that have values."""
        self._width: int | None = None
        """Cells of a text file's header."""
        self._spool: IO[bytes] = tempfile.TemporaryFile(prefix="sorbus-")  # noqa: SIM115 - until `close`
        self._tall: list[Area] = []
        self._merged: dict[int, list[Area]] = {}

    def close(self) -> None:
        """Gives the temporary file back."""
        self._spool.close()

    def place(self, row: int, column: int | None = None) -> str:
        """A cell, for people: file, sheet, row, column (from 0)."""
        at = f", column {column_letter(column + 1)} ({self.header.names.get(column, '')})" if column is not None else ""
        return f"{self.where}, row {row}{at}"

    def rows(self) -> Iterator[SheetRow]:
        """Every row below the header, without repetitions of it."""
        self._spool.seek(0)
        while True:
            try:
                chunk: list[SheetRow] = pickle.load(self._spool)  # noqa: S301 - written by ourselves, unreachable for others
            except EOFError:
                return
            for row in chunk:
                if row.number <= self.header.row:
                    continue
                if row.fault is None and self.header.is_repeated(row.cells):
                    continue
                if self._width is not None and len(row.cells) > self._width and row.fault is None:
                    yield self._with_fitting_cells(row, self._width)
                    continue
                yield self._with_merged(row)

    @staticmethod
    def _with_fitting_cells(row: SheetRow, width: int) -> SheetRow:
        """An unquoted delimiter in a cell moves all cells behind it under other names."""
        return row if all(map(is_empty, row.cells[width:])) else row._replace(fault=MORE_CELLS)

    def _with_merged(self, row: SheetRow) -> SheetRow:
        tall = [one for one in self._tall if one.first_row <= row.number <= one.last_row]
        areas = [*self._merged.get(row.number, ()), *tall]
        if not areas:
            return row
        cells = list(row.cells)
        for area in areas:
            cells.extend([None] * (min(area.last_column, 16_384) - len(cells)))
            for column in range(area.first_column - 1, area.last_column):
                if row.number != area.first_row or column != area.first_column - 1:
                    cells[column] = merged_cell(area.name)
        return SheetRow(row.number, cells)

    def fill(self, rows: Iterator[SheetRow], form: SheetForm, merged: Sequence[Area]) -> Iterator[None]:
        """Reads `rows` to their end, stopping now and then; `merged` is complete at the end. TransientError."""
        first: list[Row] = []
        chunk: list[SheetRow] = []
        for row in rows:
            chunk.append(row)
            self.last = row.number
            if len(first) < SEARCHED_ROWS and row.fault is None:
                first.append((row.number, list(row.cells)))
            if len(chunk) >= _CHUNK:
                pickle.dump(chunk, self._spool, pickle.HIGHEST_PROTOCOL)
                chunk = []
                yield
        pickle.dump(chunk, self._spool, pickle.HIGHEST_PROTOCOL)
        self.header = find_header(
            self.where, first, form.required, form.optional, row=form.header_row, depth=form.header_rows, merged=merged
        )
        top = self.header.row - form.header_rows
        self.above = [SheetRow(number, cells) for number, cells in first if number <= top]
        if self.text_form is not None:
            self._width = max(len(cells) for number, cells in first if top < number <= self.header.row)
        for area in merged:
            if area.last_row - area.first_row > _TALL:
                self._tall.append(area)
            else:
                for number in range(area.first_row, area.last_row + 1):
                    self._merged.setdefault(number, []).append(area)


def read_sheets(path: Path, sheets: Sequence[str], form: SheetForm) -> Iterator[SheetRows | None]:
    """Each sheet of the file, when it was read; None now and then before that. `sheets`: "*" is every visible one.

    TransientError says what is wrong with the file. Whoever receives a sheet closes it.
    """
    try:
        if path.suffix.lower() in WORKBOOKS:
            yield from _workbook(path, sheets, form)
        else:
            yield from _text(path, form)
    except FileNotFoundError as error:
        raise TransientError(f"{path.name} isn't there any more") from error
    except OSError as error:
        raise TransientError(f"{path.name} can't be read: {error.strerror or error}") from error


def _workbook(path: Path, sheets: Sequence[str], form: SheetForm) -> Iterator[SheetRows | None]:
    book = XlsxFile(path)
    try:
        for tab in chosen_tabs(path.name, book.tabs, sheets):
            found = SheetRows(f"{path.name}, sheet {tab.name}", "a workbook")
            found.tab = tab.name
            try:
                for _ in found.fill((SheetRow(*row) for row in book.rows(tab)), form, book.merged):
                    yield None
            except BaseException:
                found.close()
                raise
            yield found
    finally:
        book.close()


def chosen_tabs(name: str, tabs: Sequence[Tab], wanted: Sequence[str]) -> list[Tab]:
    """The sheets that the map names; the only visible one if it names none. TransientError."""
    visible = [tab for tab in tabs if not tab.is_hidden]
    if list(wanted) == ["*"]:
        return visible
    if wanted:
        by_name = {tab.name.strip().casefold(): tab for tab in tabs}
        if lacking := [each for each in wanted if each.strip().casefold() not in by_name]:
            known = ", ".join(tab.name for tab in tabs)
            raise TransientError(f"{name} has no sheet {lacking[0]!r}, only {known}: correct `sheet:` in the map")
        return [by_name[each.strip().casefold()] for each in wanted]
    if len(visible) != 1:
        known = ", ".join(tab.name for tab in visible) or "none that is visible"
        raise TransientError(f"{name} has several sheets ({known}): say which with `sheet:` in the map")
    return visible


def _text(path: Path, form: SheetForm) -> Iterator[SheetRows | None]:
    encoding = encoding_of(path, form.encoding)
    text_form = TextForm(encoding, _delimiter(path, encoding, form))
    said = f"{encoding}, separated by {DELIMITERS.get(text_form.delimiter, repr(text_form.delimiter))}s"
    found = SheetRows(path.name, said)
    found.text_form = text_form
    try:
        for _ in found.fill((SheetRow(*row) for row in text_rows(path, text_form)), form, ()):
            yield None
    except BaseException:
        found.close()
        raise
    yield found


def _delimiter(path: Path, encoding: str, form: SheetForm) -> str:
    """As the map or the file says; otherwise the one by which the header has every name that is needed."""
    said = form.delimiter or declared_delimiter(path, encoding)
    if said:
        return said
    fitting: dict[str, int] = {}
    error: TransientError | None = None
    widest = 0
    for delimiter in DELIMITERS:
        rows = [row[:2] for row in first_rows(path, TextForm(encoding, delimiter), SEARCHED_ROWS) if row.fault is None]
        width = max((len(cells) for _, cells in rows), default=0)
        try:
            find_header(path.name, rows, form.required, form.optional, row=form.header_row, depth=form.header_rows)
        except TransientError as unfit:
            if error is None or width > widest:
                error, widest = unfit, width
            continue
        fitting[delimiter] = width
    if not fitting:
        assert error is not None
        raise error
    return max(fitting, key=lambda delimiter: fitting[delimiter])
