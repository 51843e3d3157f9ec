"""The sheet as it is in the file now: which row has which key; and how a change of it is written."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from contextlib import closing
from decimal import Decimal
from pathlib import Path

from sorbus.consumers.spreadsheet.options import SpreadsheetTarget
from sorbus.consumers.spreadsheet.record_cells import key_text
from sorbus.errors import PermanentError, TransientError
from sorbus.spreadsheet.cells import Cell, UnusableCell, is_shortened, merged_cell, plain
from sorbus.spreadsheet.files import FileStamp
from sorbus.spreadsheet.header import written_name
from sorbus.spreadsheet.replace_file import replace_file, require_closed
from sorbus.spreadsheet.sheet_edit import Cells, SheetEdit, Value, is_same
from sorbus.spreadsheet.sheet_rows import MORE_CELLS, SheetRows, read_sheets
from sorbus.spreadsheet.text_edit import TextStyle, edit_text, unshielded, written
from sorbus.spreadsheet.xlsx import MOST_ROWS, column_letter
from sorbus.spreadsheet.xlsx_edit import SharedFormula, edit_workbook

_DIGITS = re.compile(r"[0-9]{1,60}(\.[0-9]{1,60})?")
_MERGED = merged_cell("").reason


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
        self.name, self.key = path.name, options.key
        require_closed(path)
        try:
            self.stamp = FileStamp.of(path)
        except OSError as error:
            raise TransientError(
                f"{path.name} isn't in {path.parent}: put it back, or run `sorbus apply`, which makes a new one"
            ) from error
        self._rows: dict[str, list[int]] = {}
        self._cells: dict[int, list[Cell]] = {}
        self._unreadable: list[str] = []
        """Where a row's key can't be relied on, and why."""
        self._numbers: dict[str, list[str]] = {}
        self._shortened: list[str] = []
        form = options.form((options.key,), tuple(columns))
        [sheet] = [
            found for found in read_sheets(path, [options.sheet] if options.sheet else [], form) if found is not None
        ]
        with closing(sheet):
            self._require_single(sheet, columns)
            self._take(sheet, keys)
        self.form = sheet.text_form
        self._name = sheet.tab

    def _require_single(self, sheet: SheetRows, columns: Collection[str]) -> None:
        for name in columns:
            if name in sheet.header.columns:
                continue
            wanted = written_name(name).casefold()
            places = [at for at, found in sheet.header.names.items() if found.casefold() == wanted]
            if places:
                letters = " and ".join(column_letter(at + 1) for at in places)
                raise TransientError(f"{sheet.where} has two columns called {name!r} ({letters}): rename one of them")

    def _take(self, sheet: SheetRows, wanted: Collection[str] | None) -> None:
        self.columns = dict(sheet.header.columns)
        self._header, self._last = sheet.header.row, sheet.last
        self.width = max(sheet.header.names, default=-1) + 1
        at = self.columns[self._options.key]
        for row in sheet.rows():
            if row.fault is MORE_CELLS and at == 0:  # no cell before the key can have moved it
                self._unreadable.append(f"{sheet.place(row.number)} {row.fault.words}")
            elif row.fault is not None:
                raise TransientError(f"{sheet.place(row.number)} {row.fault.words}")
            cell = row.cells[at] if at < len(row.cells) else None
            if isinstance(cell, UnusableCell) and cell.reason != _MERGED:
                self._unreadable.append(f"{sheet.place(row.number, at)} {cell.words}")
            key = key_text(plain(cell) if self._options.is_workbook else unshielded(str(cell or "")))
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

    def alike(self, key: str) -> list[str]:
        """Other keys of the sheet that a program makes of this one when it takes it for a number, 00123 for 123."""
        number = _as_number(key)
        if number is None or key in self._rows:
            return []
        if not self._numbers and not self._shortened:
            for each in self._rows:
                self._numbers.setdefault(_as_number(each) or "", []).append(each)
            self._shortened = [each for each in self._rows if is_shortened(each)]
        return [*self._numbers.get(number, ()), *(each for each in self._shortened if _is_short_for(each, number))]

    def require_gone(self, key: str, held: Collection[str]) -> None:
        """PermanentError where no row has the key, and one may have had it. `held`: keys of other records."""
        changed = [other for other in self.alike(key) if other not in held]
        if changed:
            rows = ", ".join(f"{other} (row {self._rows[other][0]})" for other in changed[:5])
            why = (
                f"but it has {rows}, as programs write {key} when they take it for a number: write {key} there as text"
            )
        elif self._unreadable:
            why = f"and a row may be its own: {self._unreadable[0]}"
        else:
            return
        raise PermanentError(
            f"{self.name} has no row with the record's key {key} ({self.key}) any more, {why}",
            reason="changed key",
            field=self.key,
        )

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

    def require_unmerged(self, number: int, row: Mapping[str, Value]) -> None:
        """PermanentError where a cell would be written that nobody sees."""
        cells = self._cells.get(number, [])
        for name in self.differs(number, row):
            at = self.columns[name]
            cell = cells[at] if at < len(cells) else None
            if isinstance(cell, UnusableCell) and cell.reason == _MERGED:
                raise PermanentError(
                    f"{self.name}, row {number}, column {column_letter(at + 1)} ({name}) {cell.words}",
                    reason=_MERGED,
                    field=name,
                )

    def write(self, edit: SheetEdit, own: str | None = None) -> FileStamp:
        """Replaces the file. `own`: its stamp, as text, when Sorbus wrote it last. TransientError."""
        if self._name is None:
            form = self.form
            assert form is not None
            settle = (
                self._options.settle if self.stamp.text != own else 0.0
            )  # half a text can be read; half a workbook can't
            return replace_file(
                self._path,
                self.stamp,
                lambda into: edit_text(self._path, form, edit, self._style, into),
                settle=settle,
            )
        name = self._name
        if edit.added and self._last + len(edit.added) > MOST_ROWS:
            raise TransientError(
                f"{self._path.name}, sheet {name} has a value in row {self._last:,}, and no sheet has more than"
                f" {MOST_ROWS:,} rows: delete what is in row {self._last:,} if it is no record; new rows go"
                " below the last one with a value"
            )
        try:
            return replace_file(self._path, self.stamp, lambda into: edit_workbook(self._path, name, edit, into))
        except SharedFormula as error:
            raise TransientError(
                f"{self._path.name}, cell {error.place} holds a formula that other cells take theirs from, or is filled"
                " by another cell's, and its column is written by Sorbus: replace the formulas of that column by values"
            ) from error

    @property
    def encoding(self) -> str | None:
        """A text file's encoding."""
        return self.form.encoding if self.form is not None else None


def _as_number(key: str) -> str | None:
    """Digits as a program shows them that takes them for a number; None where they are none."""
    if not _DIGITS.fullmatch(key):
        return None
    whole, _, fraction = key.partition(".")
    fraction = fraction.rstrip("0")
    return f"{whole.lstrip('0') or '0'}{'.' if fraction else ''}{fraction}"


def _is_short_for(shortened: str, number: str) -> bool:
    """Whether 9.78316E+12 is all that is left of a number."""
    mantissa, _, exponent = shortened.strip().upper().replace(",", ".").partition("E+")
    step = Decimal(10) ** (int(exponent) - len(mantissa.partition(".")[2]))
    return abs(Decimal(number) - Decimal(mantissa) * Decimal(10) ** int(exponent)) <= step / 2
