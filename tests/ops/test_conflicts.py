"""`sorbus conflicts`: a person decides which value wins, and the record is delivered at once."""

from __future__ import annotations

import json

import pytest

from sorbus.audit import AuditTrail
from sorbus.conflict.store import Conflicts, Contest
from sorbus.ops.conflicts.counts import ConflictCounts, conflict_counts
from sorbus.ops.forget.stored import Stored
from sorbus.state.database import State
from tests.consumers.line import RESTRICTED, Line, named
from tests.consumers.plugin import line, make_line
from tests.ops.test_duplicates import Typed, state, typed

__all__ = ["line", "make_line", "state", "typed"]
LONG = "a name that is too long for it"


@pytest.fixture
def numbers(state: State) -> list[int]:
    """Gadget g1 is X1 in books, where people changed two of its fields."""
    found = [Contest("name", "n", "theirs", LONG), Contest("price", 1, 2, 3)]
    return Conflicts(state, "books", "gadget", "gadgets").put("g1", 1, "gadget-to-books", "X1", found, asks=True)


def test_a_record_goes_on_when_all_of_its_conflicts_are_decided(
    line: Line, state: State, numbers: list[int], typed: Typed
) -> None:
    listed = list(map(json.loads, typed("conflicts", "list", "--json").splitlines()))
    assert {(one["number"], one["field"], one["theirs"]) for one in listed} == {
        (numbers[0], "name", "theirs"),
        (numbers[1], "price", 2),
    }
    line.execute(RESTRICTED)
    with line.consuming():
        line.publish([("g1", 1, named(LONG)), ("g2", 1, named(LONG))])
        letters = {letter.record_id: letter.id for letter in line.until_letters(2)}
        line.execute("alter table gadgets drop constraint short_name")
        first = json.loads(typed("conflicts", "keep", str(numbers[1]), "--yes", "--json"))
        assert first == {"number": numbers[1], "decision": "keep", "requeued": [], "left": [numbers[0]]}
        words = ("conflicts", "overwrite", str(numbers[0]), "--reason", "it moved", "--by", "Sales", "--yes")
        second = json.loads(typed(*words, "--json"))
        assert second == {"number": numbers[0], "decision": "overwrite", "requeued": [letters[b"g1"]], "left": []}
        line.until({"g1": LONG})
    assert "No open conflicts" in typed("conflicts", "list")
    assert "by Sales: it moved" in typed("conflicts", "show", str(numbers[0]))
    assert len(typed("conflicts", "list", "--state", "decided", "--json").splitlines()) == 2


def test_a_decision_is_asked_for_and_what_is_over_cant_be_decided(
    state: State, numbers: list[int], typed: Typed
) -> None:
    number = str(numbers[0])
    assert "be overwritten with its owner's value. Continue?" in typed("conflicts", "overwrite", number, status=1)
    Conflicts(state, "books", "gadget", "gadgets").settle("g1")
    assert "is over: there is nothing left to decide" in typed("conflicts", "keep", number, "--yes", status=1)
    assert "there is no conflict 999" in typed("conflicts", "show", "999", status=1)
    assert "is not about a field" in typed("conflicts", "compare", number, status=1)


def test_pages_go_on_where_the_last_one_ended(numbers: list[int], typed: Typed) -> None:
    (newest,) = map(json.loads, typed("conflicts", "list", "--most", "1", "--json").splitlines())
    following = typed("conflicts", "list", "--before", str(newest["number"]), "--json").splitlines()
    assert [newest["number"], *(json.loads(one)["number"] for one in following)] == sorted(numbers, reverse=True)


def test_what_is_overwritten_is_counted_where_it_happened(line: Line, state: State, typed: Typed) -> None:
    conflicts = Conflicts(state, "books", "gadget", "gadgets")
    conflicts.overwritten(conflicts.put("g1", 1, "f", "X1", [Contest("name", "n", "t", "o")], asks=False))
    assert "gadget.name in books was overwritten 1 time within seven days" in typed("conflicts", "list")
    assert conflicts.counts() == {("books", "gadget", "overwritten"): 1}
    assert conflict_counts(line.loaded.map)() == ConflictCounts(), "tables are written without being compared"


def test_who_sees_personal_values_is_in_the_audit_trail(state: State, numbers: list[int], typed: Typed) -> None:
    typed("conflicts", "show", str(numbers[0]))
    typed("conflicts", "show", str(numbers[0]), "--show-personal")
    typed("conflicts", "keep", str(numbers[0]), "--yes", "--by", "Sales", "--reason", "they know")
    found = [(one.action, one.subject, one.record, one.reason) for one in AuditTrail(state).page()]
    number = str(numbers[0])
    assert found == [("keep", number, "g1", "they know"), ("show personal values", number, "g1", "")]


def test_erasing_a_record_takes_its_conflicts_values(state: State, numbers: list[int]) -> None:
    done = [one for one in Stored(state, "gadget", "g1").erase(dry_run=False) if "conflict" in one.where]
    assert [one.count for one in done] == [2]
    found = Conflicts(state).get(numbers[0])
    assert (found.sent, found.theirs, found.ours, found.state) == (None, None, None, "over")
