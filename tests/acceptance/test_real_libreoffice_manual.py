"""LibreOffice saves a prepared sheet, as workbook and as text: every row is understood, whatever it holds."""

from __future__ import annotations

import shutil
from decimal import Decimal
from pathlib import Path

import pytest

from sorbus.ops.checklists.sheets.changes import OwnerRecord
from sorbus.state import State
from tests.acceptance.test_real_libreoffice import convert
from tests.ops.checklists.sheets.person import COLUMNS, edited, mark, opened_sync, save

pytestmark = [pytest.mark.real, pytest.mark.skipif(shutil.which("soffice") is None, reason="LibreOffice isn't there")]
RECORDS = [
    OwnerRecord("00042", {"name": "=HYPERLINK(1)", "price": Decimal("123456789012.5")}),
    OwnerRecord("1E5", {"name": "two\nlines, _x0041_ ü日🔩", "price": Decimal("0.0001")}),
    OwnerRecord("3-4", {"name": "2026-01-01", "price": None}),
    OwnerRecord("978316148410", {"name": True, "price": Decimal("12345678901234567.89")}),
    OwnerRecord("-7", {"name": " 00123 ", "price": Decimal(-5)}),
]
CSV = "csv:Text - txt - csv (StarCalc):59,34,76,1,,0,false,true,false,false,false,1"
"""As it is shown, its first sheet, in UTF-8 with semicolons."""


@pytest.mark.parametrize("to", ["xlsx:Calc MS Excel 2007 XML", CSV], ids=["workbook", "text"])
def test_a_sheet_that_libreoffice_saved_is_understood(state: State, tmp_path: Path, to: str) -> None:
    sync = opened_sync(state)
    made = sync.prepare(RECORDS, COLUMNS, "Larkspur", "ann")
    file = convert(save(tmp_path, edited(made.file, mark, {"records": len(RECORDS)})), to, tmp_path / "saved")
    file = file if file.exists() else file.with_name("prices-Changes.csv")

    found = sync.import_file(file, "ann", entered={"records": Decimal(len(RECORDS))})

    assert (found.findings, found.count("done"), found.finished) == ([], len(RECORDS), True)
