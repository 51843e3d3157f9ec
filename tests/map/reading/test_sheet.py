"""Mapping sheets as people keep them."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openpyxl import Workbook

from sorbus.map.model import FieldMapping
from sorbus.map.sheet import COLUMNS, read_sheet, read_sheets

HEAD = ",".join(COLUMNS.values())
CELLS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30).map(str.strip)
ROWS = st.lists(
    st.tuples(CELLS.filter(bool), CELLS, CELLS.filter(bool), CELLS, CELLS, CELLS).filter(
        lambda row: "canonical" not in (row[0].lower(), row[2].lower())
    ),
    max_size=8,
)


def _sheet(folder: Path, text: str, name: str = "a.csv") -> Path:
    file = folder / name
    file.write_bytes(text.encode("utf-8"))
    return file


def _cells(row: FieldMapping) -> tuple[str, ...]:
    return (row.source_system, row.source_field, row.target_system, row.target_field, row.rule, row.notes)


@given(rows=ROWS, delimiter=st.sampled_from(",;\t"), mark=st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_a_csv_sheet_is_written_from_is_what_is_read(
    tmp_path: Path, rows: list[tuple[str, ...]], delimiter: str, mark: bool
) -> None:
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter=delimiter)
    writer.writerows([list(COLUMNS.values()), *rows])
    file = _sheet(tmp_path, ("\ufeff" if mark else "") + stream.getvalue())

    found, findings = read_sheet(file)

    assert findings == []
    assert [_cells(row) for row in found] == rows
    assert [row.line for row in found] == list(range(2, len(rows) + 2))


@given(data=st.binary(max_size=300), suffix=st.sampled_from([".csv", ".xlsx"]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_rows_or_findings(tmp_path: Path, data: bytes, suffix: str) -> None:
    file = tmp_path / f"a{suffix}"
    file.write_bytes(data)

    read_sheet(file)


def test_columns_may_come_in_any_order_and_case_with_others_between(tmp_path: Path) -> None:
    text = "Owner;TARGET_FIELD;target  system;Source Field;sourcesystem\nAnna;customer.name;Canonical;customers.n;crm\n"

    rows, findings = read_sheet(_sheet(tmp_path, text))

    assert findings == []
    assert _cells(rows[0]) == ("crm", "customers.n", "canonical", "customer.name", "", "")


def test_a_row_is_known_by_the_line_it_begins_in(tmp_path: Path) -> None:
    text = f'{HEAD}\na,b,c,d,"value\n| trim",\n\n,,,,,\ne,f,g,h,,\n'

    rows, _ = read_sheet(_sheet(tmp_path, text))

    assert [(row.line, row.rule) for row in rows] == [(2, "value\n| trim"), (6, "")]


def test_a_workbook_is_read_tab_by_tab(tmp_path: Path) -> None:
    book = Workbook()
    book.active.title = "Customers"  # type: ignore[union-attr]
    for name in ("Customers", "Orders"):
        tab = book[name] if name in book.sheetnames else book.create_sheet(name)
        tab.append(list(COLUMNS.values()))
        tab.append([])
        tab.append(["crm", 7.0, "canonical", f"{name}.x", None, "n"])
    book.create_sheet("Notes").append(["Something else"])
    book.create_sheet("Hidden").append(list(COLUMNS.values()))
    book["Hidden"].append(["a", "b", "c", "d"])
    book["Hidden"].sheet_state = "hidden"
    book.save(tmp_path / "m.xlsx")

    rows, findings = read_sheets(tmp_path)

    assert findings == []
    assert [(row.file.name, row.line, *_cells(row)) for row in rows] == [
        ("m.xlsx#Customers", 3, "crm", "7", "canonical", "Customers.x", "", "n"),
        ("m.xlsx#Orders", 3, "crm", "7", "canonical", "Orders.x", "", "n"),
    ]


def test_a_cell_in_the_last_corner_of_a_tab_does_no_harm(tmp_path: Path) -> None:
    book = Workbook()
    tab = book.active
    assert tab is not None
    tab.append(list(COLUMNS.values()))
    tab.append(["a", "b", "c", "d"])
    tab["XFD1048576"] = "x"
    book.save(tmp_path / "bomb.xlsx")

    rows, findings = read_sheet(tmp_path / "bomb.xlsx")

    assert [_cells(row)[:4] for row in rows] == [("a", "b", "c", "d")]
    assert findings == []


@pytest.mark.parametrize(
    ("text", "line", "code"),
    [
        ("Source System,Source Field,Target System\na,b,c\n", 1, "no-column"),
        (f"{HEAD},rule\n", 1, "double-column"),
        (f"{HEAD}\n,f,canonical,customer.name,,\n", 2, "no-system"),
        (f"{HEAD}\na,b,c,d,,{'x' * 10_001}\n", 2, "too-large"),
        (f'{HEAD}\na,b,c,d,,\ne,"f" g,h,i,,\n', 3, "bad-csv"),
    ],
)
def test_a_fault_in_a_sheet_is_found_with_its_line(tmp_path: Path, text: str, line: int, code: str) -> None:
    _, findings = read_sheet(_sheet(tmp_path, text))

    assert [(finding.line, finding.code) for finding in findings] == [(line, code)]
    assert all(finding.cure for finding in findings)


def test_a_sheet_in_another_encoding_says_how_to_save_it(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(f"{HEAD}\na,b,c,d,,".encode() + b"Caf\xe9\n")

    _, findings = read_sheet(file)

    assert [(finding.line, finding.cure) for finding in findings] == [(2, "save it as CSV UTF-8")]


def test_a_workbook_that_is_none_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "a.xlsx").write_bytes(b"not a zip")

    assert [finding.code for finding in read_sheets(tmp_path)[1]] == ["unreadable"]


def test_no_mappings_folder_is_no_fault(tmp_path: Path) -> None:
    assert read_sheets(tmp_path / "mappings") == ((), [])
