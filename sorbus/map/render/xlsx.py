"""The data-flow document as a workbook: all fields' paths first, then the rest of the map and the sheets' rows."""

from __future__ import annotations

import io
from collections.abc import Sequence

from openpyxl import Workbook
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE
from openpyxl.styles import Alignment, Font, PatternFill
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.worksheet import Worksheet

from sorbus.map.render.report import Report, ReportTable

WIDEST = 60
_HEAD = PatternFill("solid", fgColor="1F3A5F")


def to_xlsx(doc: Report, sheets: Sequence[ReportTable] = ()) -> bytes:
    """The workbook's bytes; `sheets` are the mapping's own rows, as tabs that can be read as sheets."""
    return workbook([doc.fields(), *doc.tables(), *sheets])


def workbook(tables: Sequence[ReportTable]) -> bytes:
    """Tables as the tabs of a workbook."""
    book = Workbook(write_only=False)
    book.remove(book.worksheets[0])
    for table in tables:
        _fill(book.create_sheet(table.title), table)
    target = io.BytesIO()
    book.save(target)
    return target.getvalue()


def _fill(sheet: Worksheet, table: ReportTable) -> None:
    """Writes a table with a frozen, filtered head and columns as wide as their text."""
    for place, head in enumerate(table.heads, 1):
        cell = sheet.cell(1, place, head)
        cell.font, cell.fill = Font(bold=True, color="FFFFFF"), _HEAD
    for line, row in enumerate(table.rows, 2):
        for place, text in enumerate(row, 1):
            if text:
                cell = sheet.cell(line, place, ILLEGAL_CHARACTERS_RE.sub("", text))
                cell.data_type = "s"  # text beginning with = is text, never a formula
                cell.alignment = Alignment(vertical="top", wrap_text=True)
    for place, head in enumerate(table.heads, 1):
        lines = (line for row in table.rows for line in row[place - 1].splitlines())
        width = max(len(head) + 4, min(WIDEST, max(map(len, lines), default=0) + 2))
        sheet.column_dimensions[get_column_letter(place)].width = width
    sheet.freeze_panes = "A2"
    sheet.auto_filter.ref = sheet.dimensions
