"""What a mapping sheet holds is written to CSV and XLSX, and read again, without loss."""

from __future__ import annotations

import csv
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sorbus.map.load import load_map
from sorbus.map.loaded import LoadedMap
from sorbus.map.render.report import document
from sorbus.map.render.tables import cells_of, rows_csv, rows_table, tabs
from sorbus.map.render.xlsx import to_xlsx, workbook
from sorbus.map.sheets.sheet import read_sheet
from sorbus.mapfile.model import FieldMapping

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
CELL = st.one_of(TEXT, st.builds(str.__add__, st.sampled_from(["=", "+", "-", "@", "'=", '"', "'", "7", "1e5"]), TEXT))
NAMED = st.sampled_from(["crm", "canonical", "accounting", "=1+1", "Ünïcode"])
ROW = st.tuples(NAMED, CELL, NAMED, CELL, CELL, CELL)
AWKWARD = ("crm", "=cmd|' /C calc'!A0", "canonical", "+44", '"a" ~ \'b\' ~ "=c"', "long " * 1900 + "x\r\ny\tz")


def _read(file: Path) -> list[tuple[str, ...]]:
    rows, findings = read_sheet(file)
    assert findings == []
    return [cells_of(row) for row in rows]


@given(rows=st.lists(ROW, max_size=6))
@example(rows=[AWKWARD])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
def test_rows_come_back_from_csv_and_xlsx_just_as_they_were_read(tmp_path: Path, rows: list[tuple[str, ...]]) -> None:
    first = tmp_path / "first.csv"
    with first.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([rows_table("", ()).heads, *rows])
    held, findings = read_sheet(first)
    assert [finding.code for finding in findings] == []

    (tmp_path / "again.csv").write_text(rows_csv(held), "utf-8", newline="")
    (tmp_path / "again.xlsx").write_bytes(workbook([rows_table("Mapping", held)]))

    assert _read(tmp_path / "again.csv") == [cells_of(row) for row in held]
    assert _read(tmp_path / "again.xlsx") == [cells_of(row) for row in held]


@pytest.mark.parametrize("sign", "=+-@")
def test_no_cell_of_a_written_csv_begins_as_a_formula(sign: str) -> None:
    row = FieldMapping(
        source_system="crm", source_field=f"{sign}a", target_system="x", target_field=f"{sign}b", rule=f"{sign}c"
    )
    cells = next(csv.reader([rows_csv([row]).splitlines()[1]]))
    assert not any(cell.startswith(sign) for cell in cells)


@pytest.fixture
def loaded(larkspur: Path, tmp_path: Path) -> LoadedMap:
    shutil.copytree(larkspur.parent, tmp_path / "map")
    return load_map(tmp_path / "map" / "map.yaml")


def test_every_row_of_the_sheets_is_in_one_tab_of_the_document(loaded: LoadedMap) -> None:
    found = {table.title: table.rows for table in tabs(loaded)}
    assert Counter(row for rows in found.values() for row in rows) == Counter(map(cells_of, loaded.written))
    assert [row[3] for row in found["order-to-accounting"]] == ["postings.amount", "postings.text"]
    assert found["crm customer"][0][3] == "customer.name"


def test_the_document_is_itself_a_sheet_that_runs(loaded: LoadedMap, tmp_path: Path) -> None:
    sheets = loaded.folder / "mappings"
    before = Counter(map(cells_of, loaded.written))
    content = to_xlsx(document(loaded), tabs(loaded))
    for file in sheets.iterdir():
        file.unlink()
    (sheets / "data-flows.xlsx").write_bytes(content)

    again = load_map(loaded.file)

    assert Counter(map(cells_of, again.written)) == before
    assert {row.file.name for row in again.written} >= {"data-flows.xlsx#crm customer"}


@pytest.mark.real
@pytest.mark.skipif(not shutil.which("soffice"), reason="LibreOffice isn't installed")
def test_libreoffice_opens_a_written_workbook_and_runs_no_cell(tmp_path: Path) -> None:
    row = FieldMapping(
        source_system="crm", source_field="=1+1", target_system="canonical", target_field="+2", rule="-3"
    )
    (tmp_path / "m.xlsx").write_bytes(workbook([rows_table("Mapping", [row])]))
    command = ["soffice", "--headless", f"-env:UserInstallation={(tmp_path / 'profile').as_uri()}", "--convert-to"]
    subprocess.run([*command, "csv", "--outdir", tmp_path, tmp_path / "m.xlsx"], check=True, timeout=120)
    with (tmp_path / "m.csv").open(encoding="utf-8") as stream:
        assert list(csv.reader(stream))[1] == ["crm", "=1+1", "canonical", "+2", "-3", ""]
