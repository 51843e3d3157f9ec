"""What is in a folder of spreadsheets: its sheets, their columns, what the columns seem to hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path

from sorbus.abilities import CatalogField, Resource
from sorbus.errors import TransientError
from sorbus.schema import Kind
from sorbus.spreadsheet.cells import Cell, is_empty, plain
from sorbus.spreadsheet.files import WORKBOOKS, data_files
from sorbus.spreadsheet.sheet_rows import SheetForm, SheetRows, read_sheets
from sorbus.spreadsheet.written_values import ColumnOfDates, ColumnOfNumbers, number_readings
from sorbus.spreadsheet.xlsx import XlsxFile

_MOST_UNIQUE = 100_000


def discover_sheets(folder: Path) -> list[Resource]:
    """Every visible sheet with a header. TransientError where the folder, or none of its files, can be read."""
    found: list[Resource] = []
    wrong: list[str] = []
    for path in data_files(folder):
        for name, sheet in _sheet_names(path, wrong):
            try:
                for rows in read_sheets(path, [sheet] if sheet else [], SheetForm(())):
                    if rows is not None:
                        found += [_resource(name, rows)]
                        rows.close()
            except TransientError as error:
                wrong.append(str(error))
    if not found and wrong:
        raise TransientError("; ".join(wrong))
    return found


def sample_rows(folder: Path, resource: str, limit: int) -> list[dict[str, object]]:
    """The first rows of a sheet, by column, as they are shown; empty if there is no such sheet. TransientError."""
    for path in data_files(folder):
        for name, sheet in _sheet_names(path, []):
            if name == resource:
                for rows in read_sheets(path, [sheet] if sheet else [], SheetForm(())):
                    if rows is not None:
                        with_names = _sample(rows, limit)
                        rows.close()
                        return with_names
    return []


def _sample(rows: SheetRows, limit: int) -> list[dict[str, object]]:
    names = rows.header.names
    found: list[dict[str, object]] = []
    for row in rows.rows():
        if len(found) >= limit:
            break
        found.append({name: plain(row.cells[at]) if at < len(row.cells) else None for at, name in names.items()})
    return found


def _sheet_names(path: Path, wrong: list[str]) -> Iterator[tuple[str, str | None]]:
    """(name of the resource, sheet): the file's stem alone where it has one visible sheet."""
    stem = path.stem if "." not in path.stem else path.name
    if path.suffix.lower() not in WORKBOOKS:
        yield stem, None
        return
    try:
        book = XlsxFile(path)
    except TransientError as error:
        wrong.append(str(error))
        return
    visible = [tab.name for tab in book.tabs if not tab.is_hidden]
    book.close()
    for name in visible:
        yield (stem if len(visible) == 1 else f"{stem}.{name}"), name


def _resource(name: str, sheet: SheetRows) -> Resource:
    columns = {at: _ColumnSurvey() for at in sheet.header.names}
    count = 0
    for row in sheet.rows():
        count += 1
        for at, column in columns.items():
            column.see(row.cells[at] if at < len(row.cells) else None)
    fields = tuple(
        CatalogField(title, columns[at].kind(), columns[at].native(), columns[at].is_full(count))
        for at, title in sheet.header.names.items()
    )
    unique = (title for at, title in sheet.header.names.items() if count and columns[at].is_unique(count))
    return Resource(name, fields, tuple(list(unique)[:1]), count)


class _ColumnSurvey:
    """What a column's cells have in common."""

    def __init__(self) -> None:
        self._kinds: set[str] = set()
        self._texts: list[str] = []
        self._values: set[object] | None = set()
        self._count = 0

    def see(self, cell: Cell) -> None:
        if is_empty(cell):
            return
        self._count += 1
        value = plain(cell)
        self._kinds.add(_kind(value))
        if isinstance(value, str) and len(self._texts) < 1000:
            self._texts.append(value)
        if self._values is not None:
            self._values.add(value)
            if len(self._values) > _MOST_UNIQUE:
                self._values = None

    def is_full(self, rows: int) -> bool:
        return rows > 0 and self._count == rows

    def is_unique(self, rows: int) -> bool:
        return self.is_full(rows) and (self._values is None or len(self._values) == rows)

    def kind(self) -> Kind:
        if self._kinds == {"string"}:
            return _written_kind(self._texts)
        kinds = self._kinds
        if kinds <= {"long", "decimal"} and kinds:
            return "decimal" if "decimal" in kinds else "long"
        return {"date": "date", "timestamp": "timestamp", "boolean": "boolean", "time": "time"}.get(  # type: ignore[return-value]
            next(iter(kinds)) if len(kinds) == 1 else "", "string"
        )

    def native(self) -> str:
        return " or ".join(sorted(self._kinds)) or "empty"


def _kind(value: object) -> str:
    match value:
        case bool():
            return "boolean"
        case int():
            return "long"
        case Decimal():
            return "decimal"
        case datetime():
            return "timestamp"
        case date():
            return "date"
        case time():
            return "time"
        case _:
            return "string"


def _written_kind(texts: Sequence[str]) -> Kind:
    """What texts are: numbers and dates only where all of them are, and no leading zero says otherwise."""
    if any(len(text) > 1 and text[0] == "0" and text.isdigit() for text in texts):
        return "string"
    if all(number_readings(text) for text in texts):
        numbers = ColumnOfNumbers()
        for text in texts:
            numbers.see(text, 0)
        return "decimal"
    dates = ColumnOfDates()
    for text in texts[:50]:
        dates.see(text)
        try:
            dates.read(text)
        except ValueError:
            return "string"
    return "date"
