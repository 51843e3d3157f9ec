"""Duplicate candidates: one per record, decided by people, settled by the crosswalk, audited."""

from __future__ import annotations

import pytest

from sorbus.errors import SorbusError
from sorbus.identity.candidates import Candidates, Decision
from sorbus.identity.crosswalk import Crosswalk
from sorbus.identity.match import Candidate, Matcher
from sorbus.mapfile.model import DataType
from sorbus.schema import read_schema
from sorbus.schemas import packaged_schema
from sorbus.state.database import State

MATCHER = Matcher(DataType(match=["email"]), read_schema(packaged_schema("customer")))
OURS = {"name": "John Smith", "email": "john@larkspur.example", "notes": "nobody's business", "credit_limit": 5}
THERE = [Candidate("X1", {"name": "J Smith", "email": "js@larkspur.example", "notes": "nobody's either"})]
VERDICT = MATCHER.judge(OURS, THERE)


@pytest.fixture
def candidates(state: State, unique: str) -> Candidates:
    return Candidates(state, "books", unique, unique)


def put(candidates: Candidates, id: str = "a", version: int = 1) -> int:
    return candidates.put(id, version, VERDICT, MATCHER, OURS, THERE)


def test_a_candidate_shows_what_tells_records_apart_and_nothing_else(candidates: Candidates) -> None:
    number = put(candidates)
    (found,) = candidates.open()
    assert found.number == number
    assert (found.id, found.version, found.state, found.decision) == ("a", 1, "open", None)
    assert found.fields == {"name": "John Smith", "email": "john@larkspur.example"}
    (doubt,) = found.doubts
    assert (doubt.external_id, doubt.fields["name"]) == ("X1", "J Smith")
    assert doubt.reasons[0] == "name 91% alike: John Smith / J Smith"
    assert candidates.counts()["books", candidates.data_type or ""] == 1
    assert Candidates(candidates._state, "elsewhere").open() == []


def test_a_newer_state_of_the_record_keeps_its_number_and_age(candidates: Candidates) -> None:
    number = put(candidates)
    (before,) = candidates.open()
    assert put(candidates, version=2) == number
    (after,) = candidates.open()
    assert (after.version, after.found_at) == (2, before.found_at)


def test_a_decision_stands_until_the_crosswalk_knows_the_record(state: State, candidates: Candidates) -> None:
    number = put(candidates)
    assert candidates.decision_for(["a", "b"]) == {}
    candidates.decide(number, Decision("create", None), who="Finance", reason="another branch")
    decided = candidates.decide(number, Decision("link", "X1"), who="Sales", reason="same person")
    assert (decided.state, decided.decided_by, decided.reason) == ("decided", "Sales", "same person")
    assert candidates.open() == []
    assert candidates.decision_for(["a", "b"]) == {"a": Decision("link", "X1")}

    Crosswalk(state, "books", candidates.data_type or "", candidates.resource or "").link("a", "X1", 1, {})
    assert candidates.decision_for(["a"]) == {}
    done = candidates.get(number)
    assert done is not None
    assert done.state == "done"
    assert [(entry.who, entry.what) for entry in candidates.audit(number)] == [("Finance", "create"), ("Sales", "link")]
    with pytest.raises(SorbusError, match="is done"):
        candidates.decide(number, Decision("create", None), who="Sales", reason="")


def test_a_decision_that_cant_be_obeyed_is_a_question_again(candidates: Candidates) -> None:
    number = put(candidates)
    candidates.decide(number, Decision("link", "X1"), who="Sales", reason="same person")
    assert put(candidates) == number
    (found,) = candidates.open()
    assert (found.decision, found.decided_by) == (None, None)
    assert [entry.what for entry in candidates.audit(number)] == ["link", "reopened"]


def test_a_record_that_is_gone_asks_nothing_any_more(state: State, candidates: Candidates) -> None:
    put(candidates, "a")
    put(candidates, "b")
    Crosswalk(state, "books", candidates.data_type or "", candidates.resource or "").gone("a", 2)
    assert [found.id for found in candidates.open()] == ["b"]


def test_nobody_decides_what_nobody_asked(candidates: Candidates) -> None:
    assert candidates.get(10**9) is None
    with pytest.raises(SorbusError, match="sorbus duplicates list"):
        candidates.decide(10**9, Decision("create", None), who="Sales", reason="")
