"""`sorbus map` on real files, by its output and its exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from openpyxl import load_workbook

from sorbus.errors import ExitCode

if TYPE_CHECKING:
    from typer.testing import Result

Run = Callable[..., "Result"]
Change = Callable[[str, str], Path]


def test_a_sound_map_gets_one_summary_line_with_counts(sorbus: Run, company: Path) -> None:
    result = sorbus("--map", company, "map", "check")
    assert result.exit_code == ExitCode.FINE
    assert result.stdout.count("\n") == 1
    assert result.stdout.startswith("Brightwater Supplies: 5 systems, 4 data types, 10 flows, ")


def test_a_sound_map_in_quiet_says_nothing(sorbus: Run, company: Path) -> None:
    result = sorbus("--quiet", "--map", company, "map", "check")
    assert (result.exit_code, result.output) == (ExitCode.FINE, "")


def test_a_finding_names_file_and_line_and_the_cure(sorbus: Run, change: Change) -> None:
    company = change("    to: payroll\n", "    to: payrol\n")
    line = company.read_text("utf-8").splitlines().index("    to: payrol") + 1
    result = sorbus("--map", company, "map", "check")
    assert result.exit_code == ExitCode.FINDINGS
    assert f"{company}:{line}: " in result.stdout
    assert "payroll" in result.stdout, "the nearest name is offered"
    assert "1 problem found" in result.stderr


def test_findings_as_json_are_json_and_nothing_else(sorbus: Run, change: Change) -> None:
    company = change("    to: payroll\n", "    to: payrol\n")
    result = sorbus("--map", company, "map", "check", "--json")
    assert result.exit_code == ExitCode.FINDINGS
    (finding,) = json.loads(result.stdout)["findings"]
    assert finding.keys() == {"file", "line", "code", "message", "fix"}
    assert finding["file"] == str(company)


def test_a_map_that_cannot_be_read_is_a_finding_too_also_as_json(sorbus: Run, tmp_path: Path) -> None:
    result = sorbus("--map", tmp_path / "map.yaml", "map", "check", "--json")
    assert result.exit_code == ExitCode.FINDINGS
    assert json.loads(result.stdout)["findings"][0]["code"] == "unreadable"


def test_drawing_gives_mermaid_and_with_a_file_named_svg_an_svg(sorbus: Run, company: Path, tmp_path: Path) -> None:
    assert "flowchart LR" in sorbus("--map", company, "map", "draw").stdout
    drawing = tmp_path / "map.svg"
    result = sorbus("--map", company, "map", "draw", "-o", drawing)
    assert (result.exit_code, result.stdout) == (ExitCode.FINE, "")
    assert ET.parse(drawing).getroot().tag.endswith("svg")
    assert sorbus("--map", company, "map", "draw", "--format", "svg").stdout == drawing.read_text("utf-8")


def test_the_document_comes_in_three_forms(sorbus: Run, company: Path, tmp_path: Path) -> None:
    assert sorbus("--map", company, "map", "doc").stdout.startswith("# Data flows of Brightwater Supplies")
    assert sorbus("--map", company, "map", "doc", "--format", "csv").stdout.startswith("Source System,Source Field,")
    book = tmp_path / "flows.xlsx"
    assert sorbus("--map", company, "map", "doc", "-o", book).exit_code == ExitCode.FINE
    assert load_workbook(book)["Fields"].max_row > 100


def test_a_workbook_is_not_thrown_at_a_terminal(sorbus: Run, company: Path) -> None:
    result = sorbus("--map", company, "map", "doc", "--format", "xlsx")
    assert result.exit_code == ExitCode.WRONG_USE
    assert "-o data-flows.xlsx" in result.stderr


def test_a_folder_that_is_not_there_is_named(sorbus: Run, company: Path, tmp_path: Path) -> None:
    result = sorbus("--map", company, "map", "draw", "-o", tmp_path / "no" / "map.svg")
    assert result.exit_code == ExitCode.WRONG_USE
    assert "can't be written" in result.stderr


def test_the_schema_describes_the_map_as_json_schema(sorbus: Run, tmp_path: Path) -> None:
    schema = tmp_path / "map.schema.json"
    assert sorbus("map", "schema", "-o", schema).exit_code == ExitCode.FINE
    document = json.loads(schema.read_text("utf-8"))
    assert {"systems", "data_types", "flows"} <= document["properties"].keys()
    assert json.loads(sorbus("map", "schema").stdout) == document
