"""What `sorbus apply` makes: a file with a header, or columns that a header lacks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import IO

from sorbus.connector import BoundFlow, Step
from sorbus.consumers.spreadsheet.options import SpreadsheetTarget
from sorbus.consumers.spreadsheet.record_cells import RecordCells
from sorbus.consumers.spreadsheet.target_sheet import TargetSheet
from sorbus.consumers.written_versions import WrittenVersions
from sorbus.spreadsheet.cells import escaped
from sorbus.spreadsheet.files import folder_of
from sorbus.spreadsheet.replace_file import replace_file
from sorbus.spreadsheet.text_edit import TextStyle
from sorbus.state import State


def versions_of(flow: BoundFlow) -> WrittenVersions:
    """What was written to the flow's sheet."""
    options = flow.options
    assert isinstance(options, SpreadsheetTarget)
    state = State.of(flow.system.topic_prefix)
    return WrittenVersions(state, flow.system.name, options.place, flow.flow.data_type, locked=options.file)


def plan_file(flow: BoundFlow, *, is_new: bool) -> list[Step]:
    """The file, its sheet's columns; `is_new`: nothing was ever delivered. MapError, TransientError."""
    options = flow.options
    assert isinstance(options, SpreadsheetTarget)
    columns = RecordCells(flow).columns
    folder, name = folder_of(flow.system), flow.system.name
    path = folder / options.file
    if not path.exists():
        what = f"file {path}"
        detail = ", ".join(columns)
        if not is_new and not versions_of(flow).is_empty():
            detail += f"; what had been written is gone with the old file: then `sorbus replay {flow.flow.id}`"
        return [Step(name, what, detail, apply=lambda: _make(path, options, columns))]
    sheet = TargetSheet(path, options, columns, style=TextStyle(options.numbers), keys=())
    lacking = sheet.missing(columns)
    if not lacking:
        return []
    what = f"columns {', '.join(lacking)} of {options.resource}"
    return [Step(name, what, str(path), apply=lambda: _add(path, options, columns))]


def _add(path: Path, options: SpreadsheetTarget, columns: Sequence[str]) -> None:
    sheet = TargetSheet(path, options, columns, style=TextStyle(options.numbers), keys=())
    edit = sheet.begin()
    edit.headings = dict(enumerate(sheet.missing(columns), sheet.width))
    if not edit.is_empty:
        sheet.write(edit)


def _make(path: Path, options: SpreadsheetTarget, columns: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, None, lambda into: _write(into, options, columns))


def _write(into: IO[bytes], options: SpreadsheetTarget, columns: Sequence[str]) -> None:
    if not options.is_workbook:
        import csv
        import io

        text = io.StringIO()
        csv.writer(text, delimiter=_delimiter(options)).writerow(columns)
        into.write(text.getvalue().encode(options.encoding or "utf-8-sig"))
        return
    from openpyxl import Workbook
    from openpyxl.styles import Font
    from openpyxl.worksheet.worksheet import Worksheet

    book = Workbook()
    sheet = book.active
    assert isinstance(sheet, Worksheet)
    sheet.title = options.sheet or path_title(options.file)
    sheet.append([escaped(name) for name in columns])
    for cell in sheet[1]:
        cell.font = Font(bold=True)
    sheet.freeze_panes = "A2"
    book.save(into)


def _delimiter(options: SpreadsheetTarget) -> str:
    if options.delimiter is not None:
        return options.delimiter
    return "\t" if options.file.lower().endswith((".tsv", ".tab")) else ";"


def path_title(file: str) -> str:
    """A sheet's name, of which Excel takes 31 characters and not all signs."""
    return "".join(" " if char in "[]:*?/\\" else char for char in Path(file).stem)[:31] or "Sheet1"
