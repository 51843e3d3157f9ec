"""Large files, and files made to harm, take bounded memory and time. Memory is what the process grows by."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import openpyxl
import pytest

from sorbus.errors import TransientError
from sorbus.spreadsheet import xlsx
from sorbus.spreadsheet.sheet_rows import SheetForm, read_sheets
from tests.conftest import Report

HEAD = '<c r="A1" t="inlineStr"><is><t>No</t></is></c>'
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_SCRIPT = Path(__file__).with_name("measured.py")


def measured(file: Path) -> dict[str, float]:
    command = [sys.executable, str(_SCRIPT), str(file.parent), file.name, "No"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    return cast("dict[str, float]", json.loads(done.stdout))


def workbook(path: Path, rows: Iterator[str]) -> None:
    """A workbook whose sheet is written as it is."""
    empty = path.with_name("empty.xlsx")
    openpyxl.Workbook().save(empty)
    with zipfile.ZipFile(empty) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            if name != "xl/worksheets/sheet1.xml":
                new.writestr(name, old.read(name))
        with new.open("xl/worksheets/sheet1.xml", "w") as sheet:
            sheet.write(b'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>')
            sheet.write(f'<row r="1">{HEAD}</row>'.encode())
            for row in rows:
                sheet.write(row.encode())
            sheet.write(b"</sheetData></worksheet>")


@pytest.mark.slow
def test_a_million_rows_of_text(tmp_path: Path, report: Report) -> None:
    with (tmp_path / "list.csv").open("w") as opened:
        opened.write("No;Name;Price;Note\n")
        opened.writelines(f"{n};Name {n};{n % 1000},50;some remark\n" for n in range(1_000_000))
    found = measured(tmp_path / "list.csv")
    report(f"a million rows of CSV: {found['cpu']:.1f} s, {found['mb']:.0f} MB")
    assert found["rows"] == 1_000_000
    assert found["mb"] < 60


@pytest.mark.slow
def test_a_million_empty_formatted_rows(tmp_path: Path, report: Report) -> None:
    cells = "".join(f'<c r="{letter}{{0}}" s="0"/>' for letter in "ABCDE")
    workbook(tmp_path / "list.xlsx", (f'<row r="{n}">{cells.format(n)}</row>' for n in range(2, 1_000_002)))
    found = measured(tmp_path / "list.xlsx")
    report(f"a million empty formatted rows: {found['cpu']:.1f} s, {found['mb']:.0f} MB")
    assert found["rows"] == 0
    assert found["mb"] < 60


@pytest.mark.slow
def test_a_hundred_thousand_rows_of_a_workbook(tmp_path: Path, report: Report) -> None:
    cells = "".join(f'<c r="{letter}{{0}}"><v>{{0}}.25</v></c>' for letter in "ABCDEFGHIJ")
    workbook(tmp_path / "list.xlsx", (f'<row r="{n}">{cells.format(n)}</row>' for n in range(2, 100_002)))
    found = measured(tmp_path / "list.xlsx")
    report(f"a workbook of a million cells: {found['cpu']:.1f} s, {found['mb']:.0f} MB")
    assert found["rows"] == 100_000
    assert found["mb"] < 80


@pytest.mark.parametrize(
    ("kind", "root", "item"),
    [
        ("sharedStrings", "sst", "<si><t>abcdefghij</t></si>"),
        ("styles", "styleSheet", '<numFmt numFmtId="7" formatCode="0"/>'),
    ],
)
def test_what_is_kept_in_memory_is_bounded_whatever_its_part_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, root: str, item: str
) -> None:
    path = tmp_path / "list.xlsx"
    made = openpyxl.Workbook()
    made.save(path)
    with zipfile.ZipFile(path) as book:
        parts = {name: book.read(name).decode() for name in book.namelist()}
    parts["xl/kept.dat"] = f'<{root} xmlns="{_MAIN}">{item * 10_000}</{root}>'
    relation = f'<Relationship Id="rId99" Type="{_RELATIONS}/{kind}" Target="kept.dat"/></Relationships>'
    relations = "xl/_rels/workbook.xml.rels"
    parts[relations] = parts[relations].replace("</Relationships>", relation)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as book:
        for name, content in parts.items():
            book.writestr(name, content)
    monkeypatch.setattr(xlsx, "_LARGEST_PART", 100_000)
    with pytest.raises(TransientError, match="unpacks to 0 MB: split it"):
        list(read_sheets(path, [], SheetForm(("No",))))


HARM = {
    "an endless text": lambda: ['<row r="2"><c r="A2" t="str"><v>', *["x" * 1_000_000] * 30, "</v></c></row>"],
    "an endless row": lambda: ['<row r="2">', *['<c r="A2"/>' * 1000] * 300, "</row>"],
    "an endless depth": lambda: ["<a>" * 1000] * 300,
    "a column that doesn't exist": lambda: ['<row r="2"><c r="XFEF2"><v>1</v></c></row>'],
}


@pytest.mark.parametrize("harm", HARM)
def test_a_file_made_to_harm_is_refused(tmp_path: Path, harm: str) -> None:
    workbook(tmp_path / "list.xlsx", iter(HARM[harm]()))
    found = measured(tmp_path / "list.xlsx")
    assert "list.xlsx" in cast("str", found["why"])
    assert found["mb"] < 120
