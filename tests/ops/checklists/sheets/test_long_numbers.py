"""Numbers of more digits than Python's own arithmetic keeps: in a sheet's cells, in sums, and in a certificate."""

from __future__ import annotations

import runpy
from decimal import Decimal
from pathlib import Path

import openpyxl
import pytest

from sorbus.ops.checklists.sheets.figures import totals_of
from sorbus.ops.checklists.sheets.workbook import _value

CHECK = Path(__file__).parents[4] / "examples" / "certificate" / "check.py"
LONG = Decimal("12345678901234567890123456789012.34")


@pytest.mark.parametrize("text", ["1.00000000000000000000000000000001", "1234567890123456", str(LONG)])
def test_what_a_spreadsheet_program_would_round_is_written_as_text(text: str) -> None:
    cell = openpyxl.Workbook()["Sheet"]["A1"]
    _value(cell, Decimal(text))
    assert (cell.value, cell.number_format) == (text, "@")


@pytest.mark.parametrize("text", ["12.50", "-0.10", "100000", "12.5000000000000000000000000000000"])
def test_what_it_keeps_is_a_number(text: str) -> None:
    cell = openpyxl.Workbook()["Sheet"]["A1"]
    _value(cell, Decimal(text))
    assert cell.value == Decimal(text)


def test_sums_keep_every_digit() -> None:
    found = totals_of([{"price": LONG}, {"price": Decimal("0.01")}, {"price": None}], ["price"])
    assert found.sums == {"price": Decimal("12345678901234567890123456789012.35")}


def test_a_certificates_totals_are_checked_to_the_last_digit() -> None:
    unexplained = runpy.run_path(str(CHECK))["unexplained"]
    empty: dict[str, object] = {name: [] for name in ("suspects", "moved", "differences", "undecided")}
    flow = {**empty, "segments": 1, "sums": {}, "values": {}}
    same = {"owner": [2, str(LONG)], "target": [2, str(LONG)]}
    other = {"owner": [2, str(LONG)], "target": [2, "12345678901234567890123456789012.35"]}
    assert not list(unexplained({**flow, "totals": {"price": same}}))
    assert list(unexplained({**flow, "totals": {"price": other}}))
    moved = {"7": [{"price": str(LONG)}, None], "8": [None, {"price": "12345678901234567890123456789012.35"}]}
    told = list(unexplained({**flow, "totals": {"price": other}, "values": moved}))
    assert not [one for one in told if one.startswith("the total")], told
    moved["8"][1] = {"price": str(LONG)}
    told = list(unexplained({**flow, "totals": {"price": other}, "values": moved}))
    assert "the total of price differs by -0.01" in " ".join(told)
