"""Control characters of a record's values never reach a terminal as such."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import Mock, patch

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from sorbus.cli.app import _message
from sorbus.control_characters import escaped
from sorbus.dlq.commands import _lines
from sorbus.drift.store import DriftFinding
from sorbus.errors import SorbusError
from sorbus.identity.merged import Merged
from sorbus.ops.checklists import sheet_commands
from sorbus.ops.checklists.sheets.answers import PreparedRow, RowAnswer
from sorbus.ops.checklists.sheets.manual_sync import SheetImport
from sorbus.ops.drift import commands as drift
from sorbus.ops.duplicates import merge_commands
from sorbus.ops.flow_plan import step_plan
from sorbus.ops.reconcile import commands as reconcile
from sorbus.ops.reconcile.heal import HealPlan
from sorbus.ops.reconcile.store import StoredDifference

CLEARS = "\x1b[2J\x1b]0;title\x07A\nforged: all is well \x9b1m \u202e"


@given(st.text())
def test_what_is_escaped_is_one_line_without_control_characters(text: str) -> None:
    found = escaped(text)
    assert len(found.splitlines()) <= 1
    assert not any(ord(sign) < 32 or 127 <= ord(sign) < 160 for sign in found)
    assert found == text or len(found) > len(text)


def test_several_lines_stay_lines_where_they_may() -> None:
    assert escaped("a\n\tb\x1b\r", lines=True) == "a\n\tb\\x1b\\r"


@pytest.mark.parametrize(
    "value",
    [CLEARS, {"name": CLEARS}, [{"field": "name", "now": CLEARS, "differs": True, "error": "", "letter": CLEARS}]],
    ids=lambda value: type(value).__name__,
)
def test_a_dead_letter_shows_its_values_on_their_lines(value: object) -> None:
    for line in _lines("record", value):
        assert "\x1b" not in line
        assert "\n" not in line
        assert line == "record:" or r"\x1b[2J\x1b]0;title\x07A\nforged" in line, json.dumps(line)


def _plan_of_a_step() -> None:
    plan = step_plan.StepPlan("s", "m", has_begun=True, counts=Counter(refuse=1), refused=[(CLEARS, CLEARS)])
    step_plan._show(plan, Mock())


def _finding_of_drift() -> None:
    now = datetime.now(UTC)
    one = DriftFinding(
        1, CLEARS, CLEARS, CLEARS, CLEARS, "new", CLEARS, CLEARS, "info", CLEARS, CLEARS, CLEARS, 1, now, now,
        "settled", now, CLEARS, CLEARS,
    )  # fmt: skip
    first, second = drift._in_words(one).split("\n")
    typer.echo(f"{first} {second}")


def _merges() -> None:
    one = Merged(
        CLEARS, CLEARS, CLEARS, CLEARS, CLEARS, CLEARS, 1, "delete", "due", "", datetime.now(UTC), None, None, CLEARS
    )
    merge_commands._print_merged([one], as_json=False)


def _healing() -> None:
    run, now = Mock(), datetime.now(UTC)
    run.owner.name, run.flow.system.name = "crm", "accounting"
    one = StoredDifference("f", CLEARS, "missing", (), CLEARS, now, now, None, None, None, "unexplained")
    reconcile._print_heal(run, HealPlan("f", [one], [(one, CLEARS)], 0, 0, 0), {}, dry_run=True, yes=False)
    typer.echo(reconcile._in_words(one).replace("\n", " "))


def _error() -> None:
    typer.echo(_message(SorbusError(CLEARS.replace("\n", ""))))


def _sheet() -> None:
    row = PreparedRow(1, "AB", 1, CLEARS, None, None, None, "", "", is_closed=False)
    opened = Mock()
    opened.sync.import_file.return_value = SheetImport(overtaken=[RowAnswer(row, "done", "", "")])
    with patch.object(sheet_commands, "_open", lambda *_: opened):
        sheet_commands.import_(Mock(), "f", Path("f.xlsx"), "me")


@pytest.mark.parametrize("shown", [_plan_of_a_step, _finding_of_drift, _merges, _healing, _sheet, _error])
def test_commands_show_values_without_control_characters(
    shown: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    shown()
    found = capsys.readouterr().out
    assert r"\x1b[2J\x1b]0;title\x07" in found
    assert not [sign for sign in CLEARS if not sign.isprintable() and sign != "\n" and sign in found]
    assert "\nforged" not in found
