"""`sorbus init`: from a file of answers, from what the systems hold, and by questions."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import stat
import sys
import termios
import time
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from sorbus.cli.interview import interview
from sorbus.cli.questions import Questions, as_name
from sorbus.errors import ExitCode
from sorbus.map.authoring.discovery import all_schemas
from sorbus.map.authoring.scaffold import Answers, Beginning, FlowAnswer, SystemAnswer, files
from sorbus.map.load import load_map

if TYPE_CHECKING:
    from typer.testing import Result

Run = Callable[..., "Result"]
DEADLINE = 60.0

ANSWERS = """
company: Brightwater
systems:
  crm: {owner: Sales}
  reporting: {owner: Data team}
  price_book: {kind: spreadsheet, owner: Field sales, shadow: true}
data_types: {customer: crm}
flows:
  - {data_type: customer, to: reporting, timing: every 15m}
  - {data_type: customer, to: price_book, none: nobody needs it there}
"""


@pytest.fixture(autouse=True)
def no_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    """No NAME_DSN but those that a test sets."""
    for variable in [name for name in os.environ if name.endswith("_DSN")]:
        monkeypatch.delenv(variable)


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    file = tmp_path / "answers.yaml"
    file.write_text(ANSWERS, "utf-8")
    return file


def test_a_file_of_answers_makes_a_map_that_loads(sorbus: Run, answers: Path, tmp_path: Path) -> None:
    result = sorbus("init", tmp_path / "new", "--answers", answers)
    loaded = load_map(tmp_path / "new" / "map.yaml")
    assert loaded.map.company == "Brightwater"
    assert loaded.map.systems["crm"].connection == {"dsn": "${CRM_DSN}"}
    assert loaded.map.systems["price_book"].shadow
    assert loaded.map.data_types["customer"].system_of_record == "crm"
    assert [(flow.id, flow.timing, flow.none) for flow in loaded.map.flows] == [
        ("customer-to-reporting", "every 15m", None),
        ("customer-to-price_book", "real-time", "nobody needs it there"),
    ]
    assert "crm can't be reached now" in result.stderr
    assert result.exit_code in (ExitCode.FINE, ExitCode.FINDINGS)


def test_the_map_begins_with_the_hint_for_editors_and_explains_its_parts(
    sorbus: Run, answers: Path, tmp_path: Path
) -> None:
    sorbus("init", tmp_path, "--answers", answers)
    lines = (tmp_path / "map.yaml").read_text("utf-8").splitlines()
    assert lines[0] == "# yaml-language-server: $schema=map.schema.json"
    assert "# Secrets only as ${NAME}: from the environment, or from .env beside this file." in lines
    assert json.loads((tmp_path / "map.schema.json").read_text("utf-8"))["properties"]
    example = (tmp_path / ".env.example").read_text("utf-8").splitlines()
    assert "CRM_DSN=postgresql://USER:PASSWORD@HOST:5432/DATABASE" in example
    assert any(line.startswith("# SORBUS_KAFKA=") for line in example)
    assert (tmp_path / ".gitignore").read_text("utf-8") == ".env\n"


def test_systems_that_can_be_reached_give_owners_tables_and_sheets(
    sorbus: Run, company: Path, make_database: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRM_DSN", make_database((company.parent / "crm.sql").read_text("utf-8")))
    monkeypatch.setenv("REPORTING_DSN", make_database(""))
    folder = tmp_path / "found"
    result = sorbus("init", folder, "--yes")
    assert result.exit_code == ExitCode.FINE, result.output
    assert "no problems found" in result.stdout
    assert f"next: sorbus --map {folder / 'map.yaml'} map draw" in result.stderr
    loaded = load_map(folder / "map.yaml")
    assert loaded.map.owned_by("crm") == ["customer", "employee", "order", "product"]
    assert {flow.id for flow in loaded.map.flows} == {
        "customer-to-reporting", "employee-to-reporting", "order-to-reporting", "product-to-reporting",
    }  # fmt: skip
    assert loaded.map.data_types["order"].source["children"]
    assert len(loaded.mappings) > 40
    assert (folder / "catalog" / "crm.yaml").is_file()


def test_nothing_that_is_there_is_written_over(sorbus: Run, answers: Path, tmp_path: Path) -> None:
    (tmp_path / "map.yaml").write_text("mine\n", "utf-8")
    result = sorbus("init", tmp_path, "--answers", answers, "--yes")
    assert result.exit_code == ExitCode.REFUSED
    assert (tmp_path / "map.yaml").read_text("utf-8") == "mine\n"
    assert not (tmp_path / "map.schema.json").exists(), "all or nothing"
    sorbus("init", tmp_path, "--answers", answers, "--yes", "--force")
    assert load_map(tmp_path / "map.yaml").map.company == "Brightwater"


def test_without_a_terminal_and_without_answers_it_is_refused(sorbus: Run, tmp_path: Path) -> None:
    result = sorbus("init", tmp_path)
    assert result.exit_code == ExitCode.WRONG_USE
    assert "--answers" in result.stderr


def test_wrong_answers_are_findings_with_their_line(sorbus: Run, answers: Path, tmp_path: Path) -> None:
    answers.write_text(ANSWERS.replace("timing:", "timming:"), "utf-8")
    result = sorbus("init", tmp_path / "new", "--answers", answers)
    assert result.exit_code == ExitCode.FINDINGS
    assert f"{answers}:9: unknown key 'timming'" in result.stderr
    assert not (tmp_path / "new").exists()


def test_answers_that_do_not_fit_together_are_refused(sorbus: Run, answers: Path, tmp_path: Path) -> None:
    answers.write_text(ANSWERS.replace("{customer: crm}", "{customer: crn}"), "utf-8")
    result = sorbus("init", tmp_path / "new", "--answers", answers)
    assert result.exit_code == ExitCode.FINDINGS
    assert "the owner of customer: no system is called 'crn'" in result.stderr
    assert "crm" in result.stderr.split("'crn'")[1], "the nearest name is offered"
    assert not (tmp_path / "new").exists()


class Typist:
    """Answers questions in order; fails with what was asked when it runs out of answers."""

    def __init__(self, answers: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.left: Iterator[str] = iter(answers)
        self.asked = StringIO()
        monkeypatch.setattr("builtins.input", lambda prompt="": self.answer())
        monkeypatch.setattr("getpass.getpass", lambda *args, **named: self.answer())

    def answer(self) -> str:
        try:
            return next(self.left)
        except StopIteration:
            pytest.fail(f"no answer left for:\n{self.asked.getvalue()}")

    def questions(self) -> Questions:
        return Questions(Console(file=self.asked, width=200), take_defaults=False)


def test_questions_are_asked_again_until_the_answer_makes_sense(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    typist = Typist(
        [
            "Brightwater",
            *("CRM", "postgres", "Sales"),
            *("Price Book (old)", "spreadsheet", "Field sales", "y"),
            "",  # no more tools
            "",  # no CRM_DSN
            *("customer, unicorn", "customer"),
            "crm",
            "price_book_old",
            *("sometimes", "by hand", "Export.", "Paste.", "", "Mondays", "Field sales", "ten picked"),
        ],
        monkeypatch,
    )
    told = interview(typist.questions(), Answers(), tmp_path)
    beginning = told.beginning
    assert list(beginning.systems) == ["crm", "price_book_old"]
    assert beginning.data_types == {"customer": "crm"}
    (flow,) = beginning.flows
    assert flow.manual is not None
    assert (flow.to, flow.manual.checklist, flow.manual.responsible) == (
        "price_book_old",
        ["Export.", "Paste."],
        "Field sales",
    )
    assert "unicorn: not one of" in typist.asked.getvalue()
    assert "'sometimes' is not a valid timing" in typist.asked.getvalue()
    assert told.secrets == {}


def test_a_connection_that_is_typed_in_is_used_but_kept_out_of_the_map(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    typist = Typist(["Brightwater", "crm", "postgres", "Sales", "", database, ""], monkeypatch)
    told = interview(typist.questions(), Answers(), tmp_path)
    assert told.secrets == {"CRM_DSN": database}
    assert told.resources == {"crm": []}
    assert all(database not in text for text in files(told.beginning).values())


def test_two_systems_with_the_same_data_are_asked_about_with_the_better_one_offered(
    company: Path, make_database: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("crm", "accounting"):
        script = (company.parent / f"{name}.sql").read_text("utf-8")
        monkeypatch.setenv(f"{name.upper()}_DSN", make_database(script))
    told = interview(Questions(Console(file=StringIO()), take_defaults=True), Answers(), tmp_path)
    assert told.beginning.data_types["customer"] == "crm"
    text = files(told.beginning)[Path("mappings/accounting.csv")]
    assert "canonical,customer.name,accounting,debtors.name,," in text


def test_a_system_of_no_kind_that_sorbus_knows_is_in_the_map_all_the_same(tmp_path: Path) -> None:
    beginning = Beginning(
        "Brightwater",
        {"crm": SystemAnswer(), "paper": SystemAnswer(kind="other", notes="a: folder # on the shelf")},
        {"customer": "crm"},
        [FlowAnswer(data_type="customer", to="paper", none="it is paper")],
        {},
    )
    (tmp_path / "map.yaml").write_text(files(beginning)[Path("map.yaml")], "utf-8")
    loaded = load_map(tmp_path / "map.yaml")
    assert loaded.map.systems["paper"].notes == "a: folder # on the shelf"
    assert loaded.map.systems["paper"].connection == {}
    assert "customer" in all_schemas(loaded)


@pytest.mark.parametrize(
    ("text", "name"),
    [("Price Book (old)", "price_book_old"), ("  CRM ", "crm"), ("3CX", "cx"), ("---", ""), ("Größe", "gr_e")],
)
def test_what_people_call_a_tool_becomes_a_name(text: str, name: str) -> None:
    assert as_name(text) == name


def test_on_a_terminal_the_installed_command_asks_and_keeps_secrets_to_their_owner(
    tmp_path: Path, database: str
) -> None:
    said = _on_a_terminal(
        ["init", str(tmp_path)],
        {
            "What is the company called?": "Brightwater",
            "Tool": ["reporting", ""],
            "What is it?": "",
            "Who knows about reporting?": "Data team",
            "REPORTING_DSN": database,
            "Data": "customer",
        },
        hidden="REPORTING_DSN",
    )
    assert "written:" in said, said
    assert database not in said.split("REPORTING_DSN")[1], "a secret isn't echoed"
    env = tmp_path / ".env"
    assert f"REPORTING_DSN='{database}'" in env.read_text("utf-8")
    assert stat.S_IMODE(env.stat().st_mode) == 0o600


def _on_a_terminal(arguments: list[str], answers: dict[str, str | list[str]], *, hidden: str) -> str:
    """Runs the installed sorbus on a terminal and answers each question when it is asked; gives all that it said.

    The answer to `hidden` waits until the terminal has stopped echoing: what is typed before that is thrown away.
    """
    command = str(Path(sys.executable).with_name("sorbus"))
    child, terminal = pty.fork()
    if child == 0:
        os.execvpe(command, ["sorbus", *arguments], os.environ | {"COLUMNS": "200", "TERM": "dumb"})
    left = {question: [answer] if isinstance(answer, str) else list(answer) for question, answer in answers.items()}
    said, unanswered, deadline = "", "", time.monotonic() + DEADLINE
    try:
        while time.monotonic() < deadline:
            if select.select([terminal], [], [], 0.05)[0]:
                try:
                    piece = os.read(terminal, 4096).decode("utf-8", "replace")
                except OSError:  # the terminal's other end has closed: the command has ended
                    return said
                said, unanswered = said + piece, unanswered + piece
            asked = next((q for q in left if re.search(re.escape(q) + r".*: $", unanswered, re.S) and left[q]), None)
            echoes = bool(termios.tcgetattr(terminal)[3] & termios.ECHO)
            if asked is not None and echoes == (asked != hidden):
                os.write(terminal, f"{left[asked].pop(0)}\n".encode())
                unanswered = ""
        pytest.fail(f"sorbus {' '.join(arguments)} was not done in {DEADLINE:.0f} s; it said:\n{said}")
    finally:
        os.close(terminal)
        os.waitpid(child, 0)
