"""`sorbus map suggest`, with and without the owner's own values."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sorbus.errors import ExitCode

if TYPE_CHECKING:
    from typer.testing import Result

Run = Callable[..., "Result"]
SQL = """
CREATE TABLE customers (id int PRIMARY KEY, company text, contact text, web text, opened text);
INSERT INTO customers SELECT n, 'Company ' || n, 'person' || n || '@example.com', 'https://example.com/' || n,
  n || '/12/2025' FROM generate_series(1, 20) AS n;
"""
MAP = """
systems:
  crm: {kind: postgres, connection: {dsn: "${CRM_DSN}"}}
  accounting: {kind: postgres, connection: {dsn: "${CRM_DSN}"}}
data_types:
  customer: {system_of_record: crm, source: {table: customers}}
flows:
  - {data_type: customer, to: accounting, target: {table: debtors}}
"""


@pytest.fixture
def crm(tmp_path: Path, make_database: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CRM_DSN", make_database(SQL))
    (tmp_path / "map.yaml").write_text(MAP, "utf-8")
    return tmp_path / "map.yaml"


def test_values_tell_what_names_do_not_and_personal_ones_are_not_shown(sorbus: Run, crm: Path) -> None:
    result = sorbus("--map", crm, "map", "suggest", "crm", "accounting", "--samples", "--json")
    assert result.exit_code == ExitCode.FINE, result.output
    found = {each["row"][3]: each for each in json.loads(result.stdout)["suggestions"]}
    assert found["customer.email"]["row"][1] == "customers.contact"
    assert "its values look like e-mail addresses" in found["customer.email"]["why"]
    assert "https://example.com" in found["customer.website"]["example"]
    assert "person1@" not in result.output
    assert "Company 1" not in result.output
    shown = sorbus("--map", crm, "map", "suggest", "crm", "accounting", "--samples", "--show-personal")
    assert "@example.com" in shown.stdout


def test_rows_are_taken_by_number_or_by_how_sure_they_are(sorbus: Run, crm: Path) -> None:
    sheet = crm.parent / "mappings" / "crm-to-accounting.csv"
    assert sorbus("--map", crm, "map", "suggest", "crm", "accounting").exit_code == ExitCode.FINE
    assert not sheet.exists()
    assert sorbus("--map", crm, "map", "suggest", "crm", "accounting", "--accept", "99").exit_code == ExitCode.WRONG_USE
    result = sorbus("--map", crm, "map", "suggest", "crm", "accounting", "--all-above", "0.8")
    assert result.exit_code == ExitCode.FINE, result.output
    assert "crm,customers.company,canonical,customer.name,," in sheet.read_text("utf-8")
    assert sorbus("--map", crm, "map", "check").exit_code == ExitCode.FINE
