"""`sorbus map routes`, and what `map check` says of rows from system to system."""

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
ROW = "crm,customers.phone,accounting,debtors.phone_no,value | trim,Finance dials it"


@pytest.fixture
def direct(company: Path) -> Path:
    """The example company's map with a row from its CRM to its accounting."""
    with (company.parent / "mappings" / "accounting.csv").open("a", encoding="utf-8") as sheet:
        sheet.write(f"{ROW}\n")
    return company


def test_a_direct_row_is_a_note_and_no_finding(sorbus: Run, direct: Path) -> None:
    result = sorbus("--map", direct, "map", "check")
    assert result.exit_code == ExitCode.FINE, result.output
    assert "crm.customers.phone -> accounting.debtors.phone_no goes through customer.phone" in result.stderr
    assert result.stdout.count("\n") == 1
    (note,) = json.loads(sorbus("--map", direct, "map", "check", "--json").stdout)["notes"]
    assert "goes through customer.phone" in note


def test_routes_are_listed_and_written_out(sorbus: Run, direct: Path) -> None:
    (route,) = json.loads(sorbus("--map", direct, "map", "routes", "--json").stdout)["routes"]
    assert (route["through"], route["why"]) == ("customer.phone", "another row uses it for this field")

    assert sorbus("--map", direct, "map", "routes", "--write").exit_code == ExitCode.FINE

    assert sorbus("--map", direct, "map", "check").stderr == ""
    written = (direct.parent / "mappings" / "accounting.csv").read_text("utf-8").splitlines()
    assert written[-1] == "canonical,customer.phone,accounting,debtors.phone_no,value | trim,Finance dials it"


def test_a_row_that_cannot_be_routed_is_named(sorbus: Run, company: Path) -> None:
    with (company.parent / "mappings" / "accounting.csv").open("a", encoding="utf-8") as sheet:
        sheet.write("crm,customers.shoe_size,accounting,debtors.size,,\n")
    result = sorbus("--map", company, "map", "routes")
    assert result.exit_code == ExitCode.FINDINGS
    assert "no field of customer has a name similar to shoe_size" in result.stdout
