"""The sheet as it is in the file now: which row has which key; and how a change of it is written."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import closing
from pathlib import Path

from sorbus.consumers.spreadsheet.options import SpreadsheetTarget
from sorbus.consumers.spreadsheet.record_cells import key_text
from sorbus.errors import PermanentError, TransientError
from sorbus.spreadsheet.cells import Cell, plain
from sorbus.spreadsheet.files import FileStamp
from sorbus.spreadsheet.replace_file import replace_file, require_closed
from sorbus.spreadsheet.sheet_edit import Cells, SheetEdit, Value, is_same
from sorbus.spreadsheet.sheet_rows import SheetRows, read_sheets
from sorbus.spreadsheet.text_edit import TextStyle, edit_text, unshielded, written
from sorbus.spreadsheet.xlsx_edit import SharedFormula, edit_workbook


class TargetSheet:
    """A sheet that was read. TransientError where it can't be read, is open, or lacks a column."""

    def __init__(
        self,
        path: Path,
        options: SpreadsheetTarget,
        columns: Collection[str],
        *,
        style: TextStyle,
        keys: Collection[str] | None = None,
    ) -> None:
        """`keys`: whose rows' cells are kept; None: all."""
        self._path, self._options, self._style = path, options, style
        require_closed(path)
        try:
            self.stamp = FileStamp.of(path)
        except OSError as error:
            raise TransientError(
                f"{path.name} isn't in {path.parent}: put it back, or run `sorbus apply`, which makes a new one"
            ) from error
        self._rows: dict[str, list[int]] = {}
        self._cells: dict[int, list[Cell]] = {}
        form = options.form((options.key,), tuple(columns))
        [sheet] = [
            found for found in read_sheets(path, [options.sheet] if options.sheet else [], form) if found is not None
        ]
        with closing(sheet):
            self._take(sheet, keys)
        self.form = sheet.text_form
        self._name = sheet.tab

    def _take(self, sheet: SheetRows, wanted: Collection[str] | None) -> None:
        self.columns = dict(sheet.header.columns)
        self._header, self._last = sheet.header.row, sheet.last
        self.width = max(sheet.header.names, default=-1) + 1
        at = self.columns[self._options.key]
        for row in sheet.rows():
            cell = row.cells[at] if at < len(row.cells) else None
            key = key_text(plain(cell))
            key = key if self._options.is_workbook else unshielded(key)
            if key:
                self._rows.setdefault(key, []).append(row.number)
            if key and (wanted is None or key in wanted):
                self._cells[row.number] = list(row.cells)

    def missing(self, columns: Iterable[str]) -> list[str]:
        """The columns that the header lacks."""
        return [name for name in columns if name not in self.columns]

    def row_of(self, key: str) -> int | None:
        """The row with this key. PermanentError where several have it."""
        rows = self._rows.get(key, [])
        if len(rows) > 1:
            numbers = ", ".join(map(str, rows[:5]))
            raise PermanentError(
                f"{self._path.name} has the key {key} ({self._options.key}) in rows {numbers}: delete all of them but"
                " one",
                reason="doubled key",
                field=self._options.key,
            )
        return rows[0] if rows else None

    def begin(self) -> SheetEdit:
        """An empty change of the sheet."""
        return SheetEdit(self._header, self._last, frozenset(self.columns.values()))

    def cells(self, row: Mapping[str, Value]) -> Cells:
        """A record's cells by column."""
        return {self.columns[name]: value for name, value in row.items()}

    def values(self, number: int) -> dict[str, object]:
        """What a row holds in our columns; None where its cells weren't kept."""
        cells = self._cells.get(number, [])
        return {name: plain(cells[at]) if at < len(cells) else None for name, at in self.columns.items()}

    def differs(self, number: int, row: Mapping[str, Value]) -> dict[str, tuple[object, Value]]:
        """Column -> (what the row holds, what it would hold), where they differ."""
        cells = self._cells.get(number, [])
        found = {}
        for name, value in row.items():
            at = self.columns[name]
            cell = cells[at] if at < len(cells) else None
            if self._options.is_workbook:
                same = is_same(cell, value)
            else:
                same = ("" if cell is None else str(cell)) == written(value, self._style)
            if not same:
                found[name] = (plain(cell), value)
        return found

    def write(self, edit: SheetEdit) -> FileStamp:
        """Replaces the file. TransientError; PermanentError where a cell of ours holds a formula that others share."""
        if self._name is None:
            form = self.form
            assert form is not None
            return replace_file(
                self._path, self.stamp, lambda into: edit_text(self._path, form, edit, self._style, into)
            )
        name = self._name
        try:
            return replace_file(self._path, self.stamp, lambda into: edit_workbook(self._path, name, edit, into))
        except SharedFormula as error:
            raise TransientError(
                f"{self._path.name}, cell {error.place} holds a formula that other cells take theirs from, and its"
                " column is written by Sorbus: replace the formulas of that column by values"
            ) from error

    @property
    def encoding(self) -> str | None:
        """A text file's encoding."""
        return self.form.encoding if self.form is not None else None
