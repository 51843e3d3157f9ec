"""How many rows a target's sheet has, and the sums of its columns, whoever wrote them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from decimal import Context, Decimal

from sorbus.abilities import TargetTotals
from sorbus.connector import BoundFlow
from sorbus.consumers.spreadsheet.options import SpreadsheetTarget
from sorbus.consumers.spreadsheet.record_cells import key_text
from sorbus.errors import TransientError, UsageError
from sorbus.spreadsheet.cells import Cell, PaddedNumber, is_empty, plain
from sorbus.spreadsheet.files import folder_of
from sorbus.spreadsheet.sheet_rows import SheetRows, read_sheets
from sorbus.spreadsheet.written_values import number_readings

_EXACT = Context(prec=400)


def read_totals(flow: BoundFlow, sums: Sequence[str]) -> TargetTotals:
    """Rows without a key don't count. UsageError: a cell that holds no number. TransientError: the file."""
    options = flow.options
    assert isinstance(options, SpreadsheetTarget)
    path = folder_of(flow.system) / options.file
    sheets = [options.sheet] if options.sheet else []
    [sheet] = [one for one in read_sheets(path, sheets, options.form((options.key, *sums), ())) if one is not None]
    with closing(sheet):
        columns = sheet.header.columns
        count, added = 0, dict.fromkeys(sums, Decimal(0))
        for row in sheet.rows():
            if row.fault is not None:
                raise TransientError(f"{sheet.place(row.number)} {row.fault.words}")
            cells = {name: row.cells[at] if at < len(row.cells) else None for name, at in columns.items()}
            if not key_text(plain(cells[options.key])):
                continue
            count += 1
            for name in sums:
                added[name] = _EXACT.add(added[name], _number(sheet, row.number, name, cells[name], options))
    return TargetTotals(count, added)


def _number(sheet: SheetRows, row: int, name: str, cell: Cell, options: SpreadsheetTarget) -> Decimal:
    if is_empty(cell):
        return Decimal(0)
    value = cell.number if isinstance(cell, PaddedNumber) else cell
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return Decimal(value)
    readings = dict(number_readings(value)) if isinstance(value, str) else {}
    if options.numbers in readings:
        return readings[options.numbers]
    place = sheet.place(row, sheet.header.columns[name])
    fix = "correct it, or take the field out of `totals:`"
    raise UsageError(f"{place} holds no number (written like {options.decimals}); {fix}")
