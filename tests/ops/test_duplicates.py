"""`sorbus duplicates` and `sorbus crosswalk`: a person decides, and the record goes on at once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from typer.testing import Result

from sorbus.identity.candidates import Candidates, Decision
from sorbus.identity.crosswalk import Crosswalk
from sorbus.identity.match import Candidate, Matcher
from sorbus.mapfile.model import DataType
from sorbus.state.database import State, migrate
from tests.consumers.gadgets import GADGET_WITH_LINES
from tests.consumers.line import RESTRICTED, Line, named
from tests.consumers.plugin import line, make_line
from tests.ops.conftest import Sorbus

__all__ = ["line", "make_line"]

MATCHER = Matcher(DataType(match=["name"]), GADGET_WITH_LINES)
OURS = "a name that is too long for it"
THERE = [
    Candidate("X1", {"name": "a name that is too long for"}),
    Candidate("X2", {"name": "a name that is too longfor it"}),
]


@pytest.fixture
def state(line: Line) -> Iterator[State]:
    """The state of the line's map."""
    made = State(line.env["SORBUS_DATABASE"], line.loaded.map.topic_prefix)
    migrate(made)
    yield made
    made.close()


@pytest.fixture
def number(state: State) -> int:
    """A candidate: gadget g1 may be X1 or X2 in books."""
    verdict = MATCHER.judge({"name": OURS}, THERE)
    return Candidates(state, "books", "gadget", "gadgets").put("g1", 1, verdict, MATCHER, {"name": OURS}, THERE)


class Typed:
    """Commands typed in the line's folder."""

    def __init__(self, sorbus: Sorbus, line: Line) -> None:
        self._sorbus, self._env = sorbus, {name: line.env[name] for name in line.env if name.startswith("SORBUS_")}

    def __call__(self, *words: str, status: int = 0) -> str:
        """Standard output; with errors if it failed as it should."""
        done = self._done(words, status)
        return done.stdout if status == 0 else done.output

    def json(self, *words: str, status: int = 0) -> str:
        """Standard output alone."""
        return self._done((*words, "--json"), status).stdout

    def _done(self, words: Sequence[str], status: int) -> Result:
        done: Result = self._sorbus(*words, **self._env)
        assert done.exit_code == status, f"{words} ended with {done.exit_code}:\n{done.output}\n{done.exception!r}"
        return done


@pytest.fixture
def typed(sorbus: Sorbus, line: Line, monkeypatch: pytest.MonkeyPatch) -> Typed:
    monkeypatch.chdir(line.folder)
    return Typed(sorbus, line)


def test_a_decision_sends_the_record_on_at_once(line: Line, state: State, number: int, typed: Typed) -> None:
    (listed,) = map(json.loads, typed("duplicates", "list", "--json").splitlines())
    assert (listed["number"], listed["id"], listed["system"]) == (number, "g1", "books")
    assert [each["external_id"] for each in listed["candidates"]] == ["X2", "X1"], "the likeliest first"
    assert "X2 (85)" in " ".join(typed("duplicates", "list").split())
    assert "No possible duplicates" in typed("duplicates", "list", "--system", "crm")

    line.execute(RESTRICTED)
    with line.consuming():
        line.publish([("g1", 1, named(OURS)), ("g2", 1, named(OURS))])
        letters = {letter.record_id: letter.id for letter in line.until_letters(2)}
        line.execute("alter table gadgets drop constraint short_name")
        words = ("duplicates", "link", str(number), "X1", "--reason", "same thing", "--by", "Sales", "--yes")
        done = json.loads(typed(*words, "--json"))
        assert done == {
            "number": number,
            "decision": "link",
            "external_id": "X1",
            "requeued": [letters[b"g1"]],
        }
        line.until({"g1": OURS})
        (left,) = line.until_letters(1)
        assert left.record_id == b"g2", "only the record that was decided goes on"

    assert Candidates(state, "books", "gadget", "gadgets").decision_for(["g1"]) == {"g1": Decision("link", "X1")}
    assert "No possible duplicates" in typed("duplicates", "list")
    shown = typed("duplicates", "show", str(number))
    assert "Sales: link X1 (same thing)" in shown
    assert "X2" in shown
    assert "with its next change" in typed("duplicates", "create", str(number), "--yes")


def test_a_decision_is_asked_for_and_checked(state: State, number: int, typed: Typed) -> None:
    assert "be created in books/gadgets. Continue?" in typed("duplicates", "create", str(number), status=1)
    Crosswalk(state, "books", "gadget", "gadgets").link("g7", "X2", 1, {})
    told = typed("duplicates", "link", str(number), "X2", "--yes", status=1)
    assert "X2 in books/gadgets is gadget g7 already" in told
    assert "not one of the possible matches" in typed("duplicates", "link", str(number), "X9", status=1)
    assert "sorbus duplicates list" in typed("duplicates", "show", "999", status=1)
    assert "no system 'bookz'" in typed("duplicates", "list", "--system", "bookz", status=2)
    Crosswalk(state, "books", "gadget", "gadgets").link("g1", "X1", 1, {})
    assert "is done" in typed("duplicates", "create", str(number), "--yes", status=1)


def test_pairs_come_in_all_or_none_and_go_out_again(state: State, typed: Typed, tmp_path: Path, number: int) -> None:
    crosswalk = Crosswalk(state, "books", "gadget", "gadgets")
    crosswalk.link("g0", "X0", 5, {"name": "n"})
    file = tmp_path / "pairs.csv"
    head = "system,data_type,id,external_id\n"
    file.write_text(
        f"{head}books,gadget,g1,X1\nbooks,gadget,g2,\nbookz,gadget,g3,X3\nbooks,widget,g4,X4\n"
        "books,gadget,g5,X1\nbooks,gadget,g6,X0\nbooks,gadget,g0,X9\nbooks,gadget,g1,X1\n"
    )
    told = typed("crosswalk", "import", str(file), status=1)
    for line_number, words in {
        3: "external_id is empty",
        4: "no system 'bookz'",
        5: "no data type 'widget'",
        6: "is in line 2 too",
        7: "X0 in books/gadgets is gadget g0 already",
        8: "gadget g0 is linked to X0 in books/gadgets already",
    }.items():
        assert f"pairs.csv:{line_number}: " in told
        assert words in told
    assert "nothing was imported" in told
    assert crosswalk.find(["g1"]) == {}

    file.write_text(f"{head}books,gadget,g1,X1\nbooks,gadget,g0,X0\n")
    assert "1 would be linked, 1 were already" in typed("crosswalk", "import", str(file), "--dry-run")
    assert crosswalk.find(["g1"]) == {}
    assert "1 linked, 1 were already" in typed("crosswalk", "import", str(file))
    assert crosswalk.find(["g1"])["g1"][:3] == ("X1", 0, "linked")
    assert Candidates(state).open() == [], "what is linked is in doubt no more"
    assert crosswalk.find(["g0"])["g0"].version == 5, "what was known is left alone"
    assert typed("crosswalk", "export").splitlines() == [
        f"{head.strip()},resource",
        "books,gadget,g0,X0,gadgets",
        "books,gadget,g1,X1,gadgets",
    ]
    out = tmp_path / "out.csv"
    assert "2 pairs" in typed("crosswalk", "export", "--system", "books", "-o", str(out))
    assert "0 linked, 2 were already" in typed("crosswalk", "import", str(out))
    file.write_text("id,external\n")
    assert "no column system, data_type, external_id" in typed("crosswalk", "import", str(file), status=1)


def test_the_crosswalk_says_what_it_knows_and_forgets_when_told(state: State, typed: Typed) -> None:
    crosswalk = Crosswalk(state, "books", "gadget", "gadgets")
    crosswalk.link("g1", "X1", 5, {"name": "n"})
    shown = typed("crosswalk", "show", "books", "gadget", "g1")
    assert "is X1 there; version 5 has been delivered" in shown
    assert '"name": "n"' in shown
    assert "nothing is known" in typed("crosswalk", "show", "books", "gadget", "g3", status=1)
    assert typed("crosswalk", "find", "--external", "X1") == "X1 in books/gadgets is gadget g1\n"
    assert "no record is linked" in typed("crosswalk", "find", "--external", "X1", "--system", "crm", status=1)
    assert "Move it?" in typed("crosswalk", "link", "books", "gadget", "g1", "X2", status=1)
    assert "g1 is X2 in books" in typed("crosswalk", "link", "books", "gadget", "g1", "X2", "--yes")
    assert "already gadget g1" in typed("crosswalk", "link", "books", "gadget", "g2", "X2", status=1)
    assert "g2 is X1 in books" in typed("crosswalk", "link", "books", "gadget", "g2", "X1")
    assert "a duplicate is created" in typed("crosswalk", "unlink", "books", "gadget", "g1", status=1)
    assert crosswalk.external_of(["g1"]) == {"g1": "X2"}
    assert "no longer linked" in typed("crosswalk", "unlink", "books", "gadget", "g1", "--yes")
    assert crosswalk.find(["g1"]) == {}
    assert "nothing to unlink" in typed("crosswalk", "unlink", "books", "gadget", "g1", "--yes", status=1)
