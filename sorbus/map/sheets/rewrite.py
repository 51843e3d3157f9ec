"""Edits mapping sheets in place: only the rows concerned are changed."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile

from sorbus.errors import SorbusError
from sorbus.map.loaded import Route
from sorbus.map.sheets.sheet import COLUMNS, delimiter_of, header_of, read_sheet
from sorbus.mapfile.model import FieldMapping

_MARK = "\ufeff"
_FORMULA = ("=", "+", "-", "@")


def write_routes(routes: Sequence[Route]) -> list[Path]:
    """Replaces direct rows with the canonical rows that they stand for; returns the changed files.

    In a CSV both replace the row. In a workbook the row becomes the one into the target, and the one into the canonical
    field is added at the end, so that nothing else on the tab moves.
    """
    files: dict[Path, dict[str, dict[int, Route]]] = {}
    for route in routes:
        name, _, tab = route.row.file.name.partition(".xlsx#")
        file = route.row.file.with_name(f"{name}.xlsx") if tab else route.row.file
        files.setdefault(file, {}).setdefault(tab, {})[route.row.line] = route
    for file, tabs in files.items():
        if file.suffix.lower() == ".xlsx":
            _rewrite_workbook(file, tabs)
        else:
            _rewrite_csv(file, tabs[""])
    return list(files)


def append_rows(file: Path, rows: Sequence[FieldMapping]) -> None:
    """Appends rows to a CSV sheet under its columns, or starts one. SorbusError if it can't take them."""
    text = ""
    if file.exists():
        _, findings = read_sheet(file)
        if findings:
            raise SorbusError(f"{file} can't take more rows: {findings[0].message}; {findings[0].fix}")
        text = _read(file)
    if not text.strip(_MARK).strip():
        text = csv_line(list(COLUMNS.values()), ",", "\n")
    delimiter, ending = delimiter_of(text), _ending(text)
    rows_there = csv.reader(io.StringIO(text.lstrip(_MARK), newline=""), delimiter=delimiter)
    head = next(cells for cells in rows_there if header_of(cells))
    header = header_of(head)
    if not text.endswith(("\n", "\r")):
        text += ending
    text += "".join(csv_line(_cells([""] * len(head), header, row), delimiter, ending) for row in rows)
    replace_file(file, text.encode())


def replace_file(file: Path, content: bytes) -> None:
    """Writes a file atomically."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=file.parent, prefix=f".{file.stem}-", suffix=file.suffix, delete=False) as new:
        new.write(content)
    if file.exists():
        Path(new.name).chmod(file.stat().st_mode)
    else:
        mask = os.umask(0)
        os.umask(mask)
        Path(new.name).chmod(0o666 & ~mask)
    Path(new.name).replace(file)


def _rewrite_csv(file: Path, routes: Mapping[int, Route]) -> None:
    text = _read(file)
    delimiter, ending = delimiter_of(text), _ending(text)
    lines = list(io.StringIO(text, newline=""))
    reader = csv.reader(lines, delimiter=delimiter)
    header: dict[str, int] = {}
    out: list[str] = []
    begin = 0
    for cells in reader:
        if not header and any(cell.strip() for cell in cells):
            header = header_of([cell.lstrip(_MARK) for cell in cells])
        if (route := routes.get(begin + 1)) is not None:
            out += [csv_line(each, delimiter, ending) for each in _made(cells, header, route)]
        else:
            out += lines[begin : reader.line_num]
        begin = reader.line_num
    replace_file(file, "".join(out).encode())


def _rewrite_workbook(file: Path, tabs: Mapping[str, Mapping[int, Route]]) -> None:
    from openpyxl import load_workbook

    book = load_workbook(file)
    for name, routes in tabs.items():
        visible = [tab for tab in book.worksheets if tab.sheet_state == "visible"]
        tab = book[name] if name else next(tab for tab in visible if header_of(_values(tab, _first(tab))))
        header = header_of(_values(tab, _first(tab)))
        for line, route in routes.items():
            *more, last = _made(_values(tab, line), header, route)
            for number, cells in [(line, last), *((tab.max_row + 1 + place, each) for place, each in enumerate(more))]:
                for column, text in enumerate(cells, 1):
                    cell = tab.cell(number, column)
                    cell.value = text or None
                    if text:
                        cell.data_type = "s"
    content = io.BytesIO()
    book.save(content)
    replace_file(file, content.getvalue())


def _first(tab: object) -> int:
    from openpyxl.worksheet.worksheet import Worksheet

    assert isinstance(tab, Worksheet)
    heads = (row[0].row for row in tab.iter_rows() if header_of([str(cell.value or "") for cell in row]))
    return next(heads, 1) or 1


def _values(tab: object, line: int) -> list[str]:
    from openpyxl.worksheet.worksheet import Worksheet

    assert isinstance(tab, Worksheet)
    return ["" if cell.value is None else str(cell.value) for cell in tab[line]]


def _made(cells: Sequence[str], header: Mapping[str, int], route: Route) -> list[list[str]]:
    return [_cells(cells, header, row) for row in route.made]


def _cells(cells: Sequence[str], header: Mapping[str, int], row: FieldMapping) -> list[str]:
    """A row's cells, keeping those of unknown columns."""
    out = [*cells, *[""] * (max(header.values()) + 1 - len(cells))]
    values = (row.source_system, row.source_field, row.target_system, row.target_field, row.rule, row.notes)
    for name, text in zip(COLUMNS, values, strict=True):
        if name in header:
            out[header[name]] = text
        elif text:
            raise SorbusError(f"the sheet has no column {COLUMNS[name]}, and a row needs it; add it and try again")
    return out


def csv_line(cells: Sequence[str], delimiter: str = ",", ending: str = "\n") -> str:
    """A row of a CSV; what a spreadsheet would run as a formula becomes text."""
    stream = io.StringIO()
    csv.writer(stream, delimiter=delimiter, lineterminator=ending).writerow(as_text(cell) for cell in cells)
    return stream.getvalue()


def as_text(cell: str) -> str:
    """Puts a blank before a cell that a spreadsheet would run as a formula; readers strip it."""
    return f" {cell}" if cell[:1] in _FORMULA and cell else cell


def _read(file: Path) -> str:
    with file.open(encoding="utf-8", newline="") as stream:
        return stream.read()


def _ending(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"
