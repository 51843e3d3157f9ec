"""Sheets that people keep are changed row by row, and nothing else in them."""

from __future__ import annotations

from pathlib import Path

import pytest
from openpyxl import Workbook, load_workbook

from sorbus.errors import SorbusError
from sorbus.map.loaded import Route
from sorbus.map.sheets.rewrite import append_rows, write_routes
from sorbus.map.sheets.sheet import COLUMNS, read_sheet
from sorbus.mapfile.model import FieldMapping

DIRECT = ("crm", "customers.tel", "accounting", "contacts.phone")


def _route(row: FieldMapping) -> Route:
    first = row.model_copy(
        update={"target_system": "canonical", "target_field": "customer.phone", "rule": "", "notes": ""}
    )
    second = row.model_copy(update={"source_system": "canonical", "source_field": "customer.phone"})
    return Route(row, "customer.phone", "same name", (first, second))


def _direct(file: Path) -> list[Route]:
    rows, findings = read_sheet(file)
    assert findings == []
    return [_route(row) for row in rows if row.target_system == "accounting" and row.source_system == "crm"]


def test_only_the_direct_row_of_a_csv_changes(tmp_path: Path) -> None:
    file = tmp_path / "crm.csv"
    before = (
        "\ufeffOwner;Source System;Source Field;Target System;Target Field;Rule;Notes\r\n"
        'Sales;crm;"customers.name";canonical;customer.name;;"two\r\nlines"\r\n'
        'Sales;crm;customers.tel;accounting;contacts.phone;"value\r\n| trim";"a;b"\r\n'
        ";;;;;;\r\nSales ; crm;customers.vat;canonical;customer.tax_number;;\r\n"
    )
    file.write_bytes(before.encode())

    assert write_routes(_direct(file)) == [file]

    old = 'Sales;crm;customers.tel;accounting;contacts.phone;"value\r\n| trim";"a;b"\r\n'
    new = (
        "Sales;crm;customers.tel;canonical;customer.phone;;\r\n"
        'Sales;canonical;customer.phone;accounting;contacts.phone;"value\n| trim";"a;b"\r\n'
    )
    assert file.read_bytes().decode() == before.replace(old, new)


def test_a_workbook_keeps_its_other_cells_where_they_are(tmp_path: Path) -> None:
    file = tmp_path / "m.xlsx"
    book = Workbook()
    book.active.title = "Read me"  # type: ignore[union-attr]
    for title in ("One", "Two"):
        tab = book.create_sheet(title)
        tab.append(list(COLUMNS.values()))
        tab.append([*DIRECT, "value | trim", "=1+1 is text"])
        tab.append(["crm", "customers.name", "canonical", "customer.name"])
    book.save(file)
    before = load_workbook(file)["One"]["A3"].value

    write_routes(_direct(file))

    rows, findings = read_sheet(file)
    assert findings == []
    assert [(row.file.name, row.source_system, row.target_system, row.rule) for row in rows] == [
        (f"m.xlsx#{title}", *cells)
        for title in ("One", "Two")
        for cells in (("canonical", "accounting", "value | trim"), ("crm", "canonical", ""), ("crm", "canonical", ""))
    ]
    assert load_workbook(file)["One"]["A3"].value == before == "crm"


def test_rows_are_added_under_the_columns_that_a_sheet_has(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("Notes;Rule;Owner;Target Field;Target System;Source Field;Source System", "utf-8")
    row = FieldMapping(
        source_system="crm", source_field="t.a", target_system="canonical", target_field="customer.name",
        rule="-value", notes="=SUM(A1)",
    )  # fmt: skip

    append_rows(file, [row])

    (found,), findings = read_sheet(file)
    assert findings == []
    assert found.model_copy(update={"file": Path(), "line": 0}) == row
    assert " =SUM" in file.read_text("utf-8")


def test_a_sheet_without_the_column_that_a_row_needs_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("Source System,Source Field,Target System,Target Field\n", "utf-8")
    row = FieldMapping(source_system="a", source_field="b", target_system="c", target_field="d", rule="1")
    with pytest.raises(SorbusError, match="no column Rule"):
        append_rows(file, [row])
    assert file.read_text("utf-8").count("\n") == 1
