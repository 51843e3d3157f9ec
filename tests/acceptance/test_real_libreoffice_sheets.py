"""LibreOffice opens a prepared sheet, marks, sorts and filters it as a person does, saves it, and Sorbus imports it."""

from __future__ import annotations

import shutil
import subprocess
from decimal import Decimal
from pathlib import Path

import pytest

from sorbus.ops.checklists.sheets.changes import OwnerRecord
from sorbus.state import State
from tests.ops.checklists.sheets.person import COLUMNS, opened_sync, save

pytestmark = [pytest.mark.real, pytest.mark.skipif(shutil.which("soffice") is None, reason="LibreOffice isn't there")]
RECORDS = [
    OwnerRecord("00042", {"name": "=HYPERLINK(1)", "price": Decimal("12.5")}),
    OwnerRecord("MAR-1", {"name": "two\nlines, “quoted” & <b> _x0041_", "price": None}),
    OwnerRecord("3", {"name": "00123", "price": Decimal("12345678901234567.89")}),
    OwnerRecord("ü/日", {"name": "1e5", "price": Decimal("-0.01")}),
    OwnerRecord("@SUM", {"name": "TRUE", "price": Decimal(0)}),
]
MACRO = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE script:module PUBLIC "-//OpenOffice.org//DTD OfficeDocument 1.0//EN" "module.dtd">
<script:module xmlns:script="http://openoffice.org/2000/script" script:name="Person" script:language="StarBasic">
Sub Mark(path As String)
  Dim hidden(0) As New com.sun.star.beans.PropertyValue
  hidden(0).Name = &quot;Hidden&quot;
  hidden(0).Value = True
  doc = StarDesktop.loadComponentFromURL(ConvertToURL(path), &quot;_blank&quot;, 0, hidden())
  sheet = doc.Sheets.getByName(&quot;Changes&quot;)
  cursor = sheet.createCursor()
  cursor.gotoEndOfUsedArea(False)
  lastRow = cursor.RangeAddress.EndRow
  lastColumn = cursor.RangeAddress.EndColumn
  For column = 0 To lastColumn
    head = sheet.getCellByPosition(column, 0).String
    If head = &quot;Done?&quot; Then done = column
    If head = &quot;Reason if not done&quot; Then reason = column
  Next
  For row = 1 To lastRow
    sheet.getCellByPosition(done, row).String = &quot;done&quot;
    If sheet.getCellByPosition(2, row).String = &quot;MAR-1&quot; Then
      sheet.getCellByPosition(done, row).String = &quot;not done&quot;
      sheet.getCellByPosition(reason, row).String = &quot;no price&quot;
    End If
  Next
  Dim fields(0) As New com.sun.star.table.TableSortField
  fields(0).Field = 4
  fields(0).IsAscending = False
  Dim sorting(1) As New com.sun.star.beans.PropertyValue
  sorting(0).Name = &quot;SortFields&quot;
  sorting(0).Value = fields()
  sorting(1).Name = &quot;ContainsHeader&quot;
  sorting(1).Value = True
  sheet.getCellRangeByPosition(0, 0, lastColumn, lastRow).sort(sorting())
  sheet.Rows.getByIndex(2).IsVisible = False
  figures = doc.Sheets.getByName(&quot;Figures&quot;)
  For row = 0 To 20
    If figures.getCellByPosition(0, row).String = &quot;records&quot; Then figures.getCellByPosition(2, row).Value = 4
  Next
  doc.store()
  doc.close(True)
End Sub
</script:module>
"""
LIBRARY = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE library:library PUBLIC "-//OpenOffice.org//DTD OfficeDocument 1.0//EN" "library.dtd">
<library:library xmlns:library="http://openoffice.org/2000/library" library:name="Standard" library:readonly="false"
  library:passwordprotected="false"><library:element library:name="Person"/></library:library>
"""


def work_in_libreoffice(file: Path, profile: Path) -> None:
    """The macro runs as a person's would; LibreOffice ends by itself."""
    soffice = ["soffice", f"-env:UserInstallation=file://{profile}", "--headless", "--norestore"]
    subprocess.run([*soffice, "--terminate_after_init"], check=True, timeout=120, capture_output=True)
    standard = profile / "user" / "basic" / "Standard"
    standard.mkdir(parents=True, exist_ok=True)
    (standard / "Person.xba").write_text(MACRO)
    (standard / "script.xlb").write_text(LIBRARY)
    call = f'macro:///Standard.Person.Mark("{file}")'
    subprocess.run([*soffice, call], check=True, timeout=120, capture_output=True)


def test_libreoffice_marks_sorts_and_saves_and_every_row_is_understood(state: State, tmp_path: Path) -> None:
    sync = opened_sync(state)
    made = sync.prepare(RECORDS, COLUMNS, "Larkspur", "ann")
    file = save(tmp_path, made)

    work_in_libreoffice(file, tmp_path / "profile")

    assert file.read_bytes() != made.file, "LibreOffice saved nothing"
    found = sync.import_file(file, "ann")
    assert found.findings == []
    assert {each.row.id: each.outcome for each in found.recorded} == {
        **{one.id: "done" for one in RECORDS},
        "MAR-1": "not done",
    }
    assert [(one.target, one.agrees) for one in found.figures] == [(4, True)]
    assert found.finished
    assert [row.id for row in sync.prepare(RECORDS, COLUMNS, "Larkspur", "ann").rows] == ["MAR-1"]
