"""A person with a spreadsheet program: opens a prepared sheet, marks, sorts, filters and saves it."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import openpyxl

from sorbus.mapfile.model import Map
from sorbus.ops.checklists.sheets.figures import Totals
from sorbus.ops.checklists.sheets.manual_sync import ManualSync, Preparation
from sorbus.ops.checklists.store import Checklists
from sorbus.state import State

COLUMNS = ("name", "price")
Rows = list[dict[str, object]]


def company(flow: str = "price-to-price_book", schedule: str = "on demand", totals: Sequence[str] = ()) -> Map:
    manual = {
        "checklist": ["Type the prices."],
        "schedule": schedule,
        "responsible": "Field sales <field@example.com>",
        "verification": "The counts are equal.",
        "totals": list(totals),
    }
    return Map.model_validate(
        {
            "systems": {"crm": {"kind": "postgres"}, "price_book": {"kind": "spreadsheet"}},
            "data_types": {"price": {"schema": "product", "system_of_record": "crm"}},
            "flows": [{"name": flow, "data_type": "price", "to": "price_book", "manual": manual}],
        }
    )


def opened_sync(
    state: State, flow: str = "price-to-price_book", *, read: Totals | str = "asked", totals: Sequence[str] = ()
) -> ManualSync:
    return ManualSync(Checklists(company(flow, totals=totals), state), state, flow, read)


def edited(file: bytes, change: Callable[[Rows], Rows], figures: Mapping[str, object] | None = None) -> bytes:
    """The workbook with other rows, as a program saves it, and figures entered."""
    book = openpyxl.load_workbook(io.BytesIO(file))
    sheet = book["Changes"]
    lines = list(sheet.iter_rows(values_only=True))
    heads = [str(head) for head in lines[0]]
    rows = change([dict(zip(heads, line, strict=True)) for line in lines[1:]])
    for line in range(sheet.max_row, 1, -1):
        sheet.delete_rows(line)
    for number, row in enumerate(rows, 2):
        for place, head in enumerate(heads, 1):
            value = row.get(head)
            cell = sheet.cell(number, place, value)  # type: ignore[arg-type]
            if isinstance(value, str):
                cell.data_type = "s"
    tab = book["Figures"]
    for cells in tab.iter_rows():
        label = cells[0].value
        if label in (figures or {}):
            cells[2].value = (figures or {})[str(label)]  # type: ignore[assignment]
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def save(folder: Path, made: Preparation | bytes, name: str = "prices.xlsx") -> Path:
    file = folder / name
    file.write_bytes(made if isinstance(made, bytes) else made.file)
    return file


def mark(rows: Rows, outcome: str = "done", reason: str = "") -> Rows:
    return [{**row, "Done?": outcome, "Reason if not done": reason} for row in rows]
