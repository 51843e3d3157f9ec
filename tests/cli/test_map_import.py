"""`sorbus map import` by its output, its files and its exit codes."""

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


@pytest.fixture
def fields(tmp_path: Path) -> Path:
    """A documentation sheet of two fields, one transformation of which only a person understands."""
    file = tmp_path / "fields.csv"
    file.write_text(
        "CRM field,Accounting field,Transformation\n"
        "customers.mobile,debtors.mobile_no,trim\n"
        "customers.fax,debtors.fax_no,as agreed with Finance\n",
        "utf-8",
    )
    return file


def test_a_dry_run_shows_what_it_would_write_and_writes_nothing(sorbus: Run, company: Path, fields: Path) -> None:
    result = sorbus("--map", company, "map", "import", fields, "--dry-run", "--json")
    found = json.loads(result.stdout)
    assert [row["row"][4] for row in found["rows"]] == ["value | trim", ""]
    assert "as agreed with Finance" in found["rows"][1]["not_understood"][0]
    assert found["into"] is None
    assert not (company.parent / "mappings" / "fields.csv").exists()


def test_an_import_is_a_sheet_that_the_check_knows(sorbus: Run, company: Path, fields: Path) -> None:
    result = sorbus("--map", company, "map", "import", fields)
    assert result.exit_code == ExitCode.FINDINGS, "one row needs a person"
    assert f"{fields.name}:3: " in result.stdout
    written = (company.parent / "mappings" / "fields.csv").read_text("utf-8").splitlines()
    assert written[1].startswith("crm,customers.mobile,accounting,debtors.mobile_no,value | trim,")
    assert "as agreed with Finance" in written[2]


def test_a_file_without_headings_that_are_known_is_a_finding(sorbus: Run, company: Path, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("A,B\n1,2\n", "utf-8")
    result = sorbus("--map", company, "map", "import", tmp_path / "a.csv")
    assert result.exit_code == ExitCode.FINDINGS
    assert "nothing to import" in result.output


def test_a_system_that_the_map_does_not_have_is_wrong_use(sorbus: Run, company: Path, fields: Path) -> None:
    assert sorbus("--map", company, "map", "import", fields, "--system", "crn").exit_code == ExitCode.WRONG_USE
