"""`sorbus discover` on a real database."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sorbus.errors import ExitCode
from sorbus.map.catalog import read_catalog

if TYPE_CHECKING:
    from typer.testing import Result

Run = Callable[..., "Result"]


@pytest.fixture
def crm(company: Path, make_database: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The example company's map, its CRM being a database of this test's own."""
    monkeypatch.setenv("CRM_DSN", make_database((company.parent / "crm.sql").read_text("utf-8")))
    return company


def test_tables_are_shown_with_keys_and_fields_and_what_they_seem_to_be(sorbus: Run, crm: Path) -> None:
    result = sorbus("--map", crm, "discover", "crm")
    assert result.exit_code == ExitCode.FINE, result.output
    assert "order from public.orders, public.order_lines (lines)" in result.stdout
    assert "owner crm (as the map says)" in result.stdout
    assert "stage (customer.status, by a rule or lookup table)" in result.stdout


def test_json_holds_everything_and_nothing_else_is_printed(sorbus: Run, crm: Path) -> None:
    look = json.loads(sorbus("--map", crm, "discover", "crm", "--json").stdout)
    (customers,) = (each for each in look["resources"] if each["name"] == "public.customers")
    assert {"name": "email", "kind": "string", "native": "text", "required": False} in customers["fields"]
    (order,) = (each for each in look["proposals"] if each["data_type"] == "order")
    assert order["source"]["children"] == {"lines": {"table": "public.order_lines", "parent": ["order_id"]}}
    assert (order["system_of_record"], order["missing"]) == ("crm", [])


def test_records_are_those_that_the_server_has_counted(
    sorbus: Run, company: Path, make_database: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = "create table counted (id int primary key); create table never (id int primary key);"
    monkeypatch.setenv("CRM_DSN", make_database(tables + "insert into counted values (1), (2), (3); analyze counted"))
    look = json.loads(sorbus("--map", company, "discover", "crm", "--json").stdout)
    assert {each["name"]: each["records"] for each in look["resources"]} == {"public.counted": 3, "public.never": None}


def test_save_writes_a_catalog_that_the_check_can_read(sorbus: Run, crm: Path) -> None:
    assert sorbus("--map", crm, "discover", "crm", "--save").exit_code == ExitCode.FINE
    catalog = read_catalog(crm.parent, "crm")
    assert catalog is not None
    assert {"public.customers", "public.orders", "public.order_lines"} <= catalog.resources.keys()


def test_the_proposed_sheet_is_a_sheet_that_the_check_accepts(sorbus: Run, crm: Path) -> None:
    sheet = crm.parent / "mappings" / "crm.csv"
    sheet.unlink()
    assert sorbus("--map", crm, "discover", "crm", "--save", "--sheet").exit_code == ExitCode.FINE
    targets = {row["Target Field"] for row in csv.DictReader(sheet.open(encoding="utf-8"))}
    assert {"customer.name", "order.lines[].quantity", "employee.name", "product.unit_price"} <= targets
    findings = json.loads(sorbus("--map", crm, "map", "check", "--json").stdout)["findings"]
    assert [finding for finding in findings if finding["file"] == str(sheet)] == []


def test_a_mapping_sheet_that_is_there_is_kept(sorbus: Run, crm: Path) -> None:
    sheet = crm.parent / "mappings" / "crm.csv"
    before = sheet.read_bytes()
    result = sorbus("--map", crm, "discover", "crm", "--sheet")
    assert (result.exit_code, sheet.read_bytes()) == (ExitCode.REFUSED, before)
    assert "--force" in result.stderr
    assert sorbus("--map", crm, "discover", "crm", "--sheet", "--force").exit_code == ExitCode.FINE
    assert sheet.read_bytes() != before


def test_a_target_gets_rows_out_of_the_canonical_fields(
    sorbus: Run, company: Path, make_database: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCOUNTING_DSN", make_database((company.parent / "accounting.sql").read_text("utf-8")))
    assert sorbus("--map", company, "discover", "accounting", "--sheet", "--force").exit_code == ExitCode.FINE
    rows = (company.parent / "mappings" / "accounting.csv").read_text("utf-8")
    assert "canonical,customer.billing_address_city,accounting,debtors.town,," in rows
    assert "debtors.debtor_no" not in rows, "the key takes the record's id"


def test_a_system_that_cannot_be_reached_is_exit_code_3(
    sorbus: Run, company: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRM_DSN", "postgresql://nobody@127.0.0.1:1/none?connect_timeout=2")
    result = sorbus("--map", company, "discover", "crm")
    assert result.exit_code == ExitCode.UNREACHABLE
    assert "PostgreSQL can't be reached: connection to server" in " ".join(result.stderr.split())


def test_an_unknown_system_is_named_with_the_nearest_one(sorbus: Run, company: Path) -> None:
    result = sorbus("--map", company, "discover", "crn")
    assert result.exit_code == ExitCode.WRONG_USE
    assert "no system is called 'crn'" in result.stderr
    assert "crm" in result.stderr
