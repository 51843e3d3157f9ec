"""Changes cells of a workbook in its XML, so that everything else in it stays as it was, to the byte.

A library that loads and saves workbooks loses what it doesn't know: charts, pivot tables, slicers, controls.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import IO, NamedTuple
from xml.sax.saxutils import escape

from sorbus.errors import TransientError
from sorbus.mapping.filters.text import as_text
from sorbus.spreadsheet.cells import escaped
from sorbus.spreadsheet.sheet_edit import Cells, SheetEdit, Value
from sorbus.spreadsheet.workbook_parts import WorkbookParts, extended
from sorbus.spreadsheet.xlsx import XlsxFile, area_of, column_letter, column_number

_ATTRIBUTE = re.compile(r'(\w+)="([^"]*)"')
_EPOCH_1900, _EPOCH_1904 = date(1899, 12, 30), date(1904, 1, 1)


class _Cell(NamedTuple):
    column: int
    attributes: dict[str, str]
    xml: str


class _Row(NamedTuple):
    number: int
    attributes: str
    body: str
    xml: str


class SharedFormula(Exception):
    """A cell that can't be replaced alone, since others take their formula from it."""

    def __init__(self, place: str) -> None:
        self.place = place
        super().__init__(place)


def edit_workbook(path: Path, sheet: str, edit: SheetEdit, into: IO[bytes]) -> None:
    """Writes the workbook with the changes. TransientError where it can't be changed safely; SharedFormula."""
    book = XlsxFile(path)
    try:
        tab = next((each for each in book.tabs if each.name == sheet), None)
        if tab is None:
            raise TransientError(f"{book.name} has no sheet {sheet!r} any more: it is read again")
        parts = WorkbookParts(book)
        editor = _Editor(parts, book, parts.text(tab.part), edit)
        parts.replace(tab.part, editor.made())
        if editor.lost_formula:
            parts.drop_calculation_chain()
        if edit.added:
            parts.extend_tables(tab, edit.last, edit.last + len(edit.added))
        parts.recalculate_when_opened()
        parts.write(into)
    finally:
        book.close()


class _Editor:
    """One sheet's XML."""

    def __init__(self, parts: WorkbookParts, book: XlsxFile, xml: str, edit: SheetEdit) -> None:
        self._parts, self._book, self._edit = parts, book, edit
        self.lost_formula = False
        found = re.search(r"<(\w+:)?sheetData\b[^>]*?(/>|>)", xml)
        if found is None:
            raise TransientError(f"{book.name} has a sheet without data: save it again in Excel or LibreOffice")
        self._prefix = found[1] or ""
        self._before = xml[: found.start()]
        if found[2] == "/>":
            self._inside, self._after = "", xml[found.end() :]
        else:
            close = f"</{self._prefix}sheetData>"
            end = xml.index(close, found.end())
            self._inside, self._after = xml[found.end() : end], xml[end + len(close) :]
        p = self._prefix
        self._row = re.compile(rf"<{p}row\b([^>]*?)(?:/>|>(.*?)</{p}row>)", re.DOTALL)
        self._cell = re.compile(rf"<{p}c\b([^>]*?)(?:/>|>(.*?)</{p}c>)", re.DOTALL)
        formulas = (dict(_ATTRIBUTE.findall(one)) for one in re.findall(rf"<{p}f\b([^>]*)", self._inside))
        self._filled = [
            area_of(one["ref"]) for one in formulas if one.get("t") in ("array", "dataTable") and "ref" in one
        ]
        """Cells that one formula fills: all but its first hold results only."""

    def made(self) -> str:
        """The sheet with the changes."""
        edit, p = self._edit, self._prefix
        rows = list(self._rows())
        removed = frozenset(edit.removed)
        by_number = {row.number: row for row in rows}
        template = self._template(by_number)
        added = dict(enumerate(edit.added, edit.last + 1))
        lines = []
        for number in sorted({*by_number, *edit.changed, *added}):
            row = by_number.get(number) or _Row(number, f' r="{number}"', "", "")
            if number in edit.changed:
                lines.append(self._with(row, edit.changed[number], template))
            elif number in added:  # an empty row with formats may be there
                there = {cell.column for cell in self._cells(row)}
                formats: Cells = dict.fromkeys(template.keys() - there)
                lines.append(self._with(row, {**formats, **added[number]}, template))
            elif number == edit.header and edit.headings:
                lines.append(self._with(row, edit.headings, self._header_style(row)))
            elif number in removed:
                lines.append(self._with(row, dict.fromkeys(edit.own), {}))
            else:
                lines.append(row.xml)
        last = edit.last + len(edit.added)
        width = max(
            (max(cells, default=0) for cells in (*edit.added, *edit.changed.values(), edit.headings)), default=0
        )
        before = re.sub(
            rf'(<{p}dimension\b[^>]*\bref=")([^"]*)"',
            lambda found: f'{found[1]}{extended(found[2], last, width + 1)}"',
            self._before,
        )
        after = self._after
        if edit.added:
            after = re.sub(
                rf'(<{p}autoFilter\b[^>]*\bref=")([^"]*)"',
                lambda found: f'{found[1]}{extended(found[2], last, only_from=edit.last)}"',
                after,
            )
        return f"{before}<{p}sheetData>{''.join(lines)}</{p}sheetData>{after}"

    def _rows(self) -> Iterator[_Row]:
        number = 0
        for found in self._each(self._row, self._inside):
            given = dict(_ATTRIBUTE.findall(found[1])).get("r")
            before, number = number, int(given) if given else number + 1
            if number <= before:
                raise self._unusual()
            yield _Row(number, found[1] if given else f' r="{number}"{found[1]}', found[2] or "", found[0])

    def _cells(self, row: _Row) -> Iterator[_Cell]:
        column = 0
        for found in self._each(self._cell, row.body):
            attributes = dict(_ATTRIBUTE.findall(found[1]))
            column = column_number(attributes["r"]) if "r" in attributes else column + 1
            yield _Cell(column - 1, attributes, found[0])

    def _each(self, pattern: re.Pattern[str], text: str) -> Iterator[re.Match[str]]:
        """Every row or cell. TransientError where something else is between them, which would be lost."""
        end = 0
        for found in pattern.finditer(text):
            if text[end : found.start()].strip():
                raise self._unusual()
            end = found.end()
            yield found
        if text[end:].strip():
            raise self._unusual()

    def _unusual(self) -> TransientError:
        return TransientError(f"{self._book.name} is written in an unusual way: save it again in Excel or LibreOffice")

    def _template(self, rows: dict[int, _Row]) -> dict[int, str]:
        """Column -> style, as the last row of data has it."""
        last = rows.get(self._edit.last)
        if last is None or last.number <= self._edit.header:
            return {}
        return {cell.column: cell.attributes["s"] for cell in self._cells(last) if "s" in cell.attributes}

    def _header_style(self, row: _Row) -> dict[int, str]:
        styles = [cell.attributes["s"] for cell in self._cells(row) if "s" in cell.attributes]
        return dict.fromkeys(self._edit.headings, styles[-1]) if styles else {}

    def _with(self, row: _Row, changes: Cells, template: dict[int, str]) -> str:
        p = self._prefix
        cells = {cell.column: cell for cell in self._cells(row)}
        made = {column: cell.xml for column, cell in cells.items()}
        for column, value in changes.items():
            old = cells.get(column)
            style = old.attributes.get("s") if old is not None else template.get(column)
            place = f"{column_letter(column + 1)}{row.number}"
            if any(
                area.first_row <= row.number <= area.last_row and area.first_column <= column + 1 <= area.last_column
                for area in self._filled
            ):
                raise SharedFormula(place)
            if old is not None and f"<{p}f" in old.xml:
                if re.search(rf'<{p}f\b[^>]*\b(ref|si)="', old.xml):
                    raise SharedFormula(place)
                self.lost_formula = True
            made[column] = self._written(place, value, style)
        attributes = re.sub(r'\sspans="[^"]*"', "", row.attributes)
        body = "".join(made[column] for column in sorted(made))
        return f"<{p}row{attributes.rstrip()}>{body}</{p}row>"

    def _written(self, place: str, value: Value, style: str | None) -> str:
        p = self._prefix
        if isinstance(value, date) and self._book.is_1904 and value.year < _EPOCH_1904.year:
            value = as_text(value)  # programs show no date before the first one
        if isinstance(value, date):
            style = self._parts.date_style(style, has_time=isinstance(value, datetime))
        elif isinstance(value, int | Decimal) and not isinstance(value, bool):
            style = self._parts.number_style(style)
        head = f'<{p}c r="{place}"' + (f' s="{style}"' if style else "")
        match value:
            case None:
                return f"{head}/>" if style else ""
            case bool():
                return f'{head} t="b"><{p}v>{int(value)}</{p}v></{p}c>'
            case int() | Decimal():
                return f"{head}><{p}v>{as_text(value)}</{p}v></{p}c>"
            case date():
                return f"{head}><{p}v>{_serial(value, is_1904=self._book.is_1904)}</{p}v></{p}c>"
            case _:
                text = escape(escaped(str(value)))
                return f'{head} t="inlineStr"><{p}is><{p}t xml:space="preserve">{text}</{p}t></{p}is></{p}c>'


def _serial(value: date, *, is_1904: bool) -> str:
    day = value.date() if isinstance(value, datetime) else value
    days = (day - (_EPOCH_1904 if is_1904 else _EPOCH_1900)).days
    if not is_1904 and days < 61:  # Excel counts a 29 February 1900
        days -= 1
    if not isinstance(value, datetime):
        return str(days)
    seconds = Decimal((value - datetime(value.year, value.month, value.day)).total_seconds())
    return f"{days + seconds / 86400:.10f}".rstrip("0").rstrip(".")
