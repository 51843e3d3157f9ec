"""The crosswalk: unique both ways, intents that outlive a crash, versions, exact values, claims."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
import uuid
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from sorbus.errors import PermanentError, TransientError
from sorbus.identity.candidates import Candidates
from sorbus.identity.crosswalk import Crosswalk, Link, Owner, links_of
from sorbus.identity.last_sent import from_text, to_text
from sorbus.state.database import State

IDS = st.sampled_from(["a", "b", "c", "d"])
EXTERNAL = st.sampled_from(["X1", "X2", "X3"])
VERSIONS = st.integers(1, 9)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "$", "$decimal", "$$x"]), inner),
    max_leaves=8,
)


def as_typed(value: object) -> object:
    """`value` with its types and digits, which == forgives."""
    if isinstance(value, dict):
        return {name: as_typed(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [as_typed(inner) for inner in value]
    return type(value), repr(value)


@given(JSON)
def test_what_was_sent_comes_back_to_the_last_digit(value: object) -> None:
    assert as_typed(from_text(to_text(value))) == as_typed(value)


@pytest.mark.parametrize("text", ["nul \0 in it", "half a pair \ud800", "ünïcode", '"\\'])
def test_every_text_that_json_can_carry_is_kept(crosswalk: Crosswalk, text: str) -> None:
    sent = {"name": text, "price": Decimal("1.10"), "count": 3}
    crosswalk.link("a", "X1", 1, sent)
    found = crosswalk.find(["a"])["a"].sent
    assert found == sent
    assert str(found["price"]) == "1.10"


def test_an_intent_keeps_its_key_until_the_record_is_linked(crosswalk: Crosswalk) -> None:
    key = crosswalk.intend("a", 1)
    first = crosswalk.find(["a"])["a"]
    assert (first.state, first.version, first.external_id, first.key) == ("intended", 1, None, key)
    (noted,) = links_of(crosswalk._state, crosswalk.data_type, "a")
    assert crosswalk.intend("a", 2) == key
    again = crosswalk.find(["a"])["a"]
    (later,) = links_of(crosswalk._state, crosswalk.data_type, "a")
    assert (again.version, later.intended_at) == (2, noted.intended_at)
    crosswalk.link("a", "X1", 2, {"name": "n"})
    with pytest.raises(TransientError, match="linked meanwhile"):
        crosswalk.intend("a", 3)
    crosswalk.gone("a", 3)
    assert crosswalk.intend("a", 4) != key


def test_a_refused_creation_is_forgotten_and_the_next_has_another_key(crosswalk: Crosswalk) -> None:
    key = crosswalk.intend("a", 1)
    crosswalk.withdraw("a")
    assert crosswalk.find(["a"]) == {}
    assert crosswalk.intend("a", 1) != key
    crosswalk.link("a", "X1", 1, {})
    crosswalk.withdraw("a")
    assert crosswalk.external_of(["a"]) == {"a": "X1"}, "only intents are withdrawn"


def test_an_external_record_belongs_to_one_id_and_the_error_names_it(crosswalk: Crosswalk) -> None:
    crosswalk.link("a", "X1", 1, {})
    with pytest.raises(PermanentError, match=f"X1: that is already {crosswalk.data_type} a") as refused:
        crosswalk.link("b", "X1", 1, {})
    assert refused.value.reason == "duplicate"
    with pytest.raises(PermanentError, match="is already linked to X1"):
        crosswalk.link("a", "X2", 2, {})
    crosswalk.gone("a", 2)
    crosswalk.link("b", "X1", 1, {})
    assert crosswalk.canonical_of(["X1", "X2"]) == {"X1": "b"}


def test_a_moved_link_is_written_in_full_next_time(crosswalk: Crosswalk) -> None:
    crosswalk.link("a", "X1", 7, {"name": "n"})
    crosswalk.link("b", "X2", 1, {})
    crosswalk.rename("a", "X3")
    assert crosswalk.find(["a"])["a"][:5] == ("X3", 0, "linked", crosswalk.find(["a"])["a"].key, None)
    with pytest.raises(PermanentError, match=r"is already \S+ b;"):
        crosswalk.rename("a", "X2")
    with pytest.raises(PermanentError, match="no link"):
        crosswalk.rename("c", "X9")
    assert crosswalk.unlink("a") == "X3"
    assert crosswalk.unlink("a") is None


def test_systems_and_data_types_are_apart(state: State, unique: str) -> None:
    one, other = Crosswalk(state, "books", unique, unique), Crosswalk(state, "helpdesk", unique, "contacts")
    one.link("a", "X1", 1, {})
    other.link("b", "X1", 1, {})
    assert one.external_of(["a", "b"]) == {"a": "X1"}
    with one.claim(["a"]) as ours, other.claim(["a"]) as theirs:
        assert ours == theirs == {"a"}


def test_nothing_is_asked_for_nothing(crosswalk: Crosswalk) -> None:
    assert crosswalk.find([]) == crosswalk.external_of([]) == crosswalk.canonical_of([]) == {}
    with crosswalk.claim([]) as ours:
        assert ours == frozenset()


class Model(RuleBasedStateMachine):
    """The crosswalk beside a dictionary that says what it should hold."""

    state: State

    def __init__(self) -> None:
        super().__init__()
        self.real = Crosswalk(self.state, "books", uuid.uuid4().hex, uuid.uuid4().hex)
        self.links: dict[str, Link] = {}

    def taken(self, id: str, external: str) -> bool:
        return any(
            other != id and link.external_id == external and link.state == "linked"
            for other, link in self.links.items()
        )

    @rule(id=IDS, version=VERSIONS)
    def intend(self, id: str, version: int) -> None:
        before = self.links.get(id)
        if before and before.state == "linked":
            with pytest.raises(TransientError):
                self.real.intend(id, version)
            return
        key = self.real.intend(id, version)
        if before and before.state == "intended":
            assert key == before.key
        self.links[id] = Link(None, version, "intended", key, None, None)

    @rule(id=IDS, external=EXTERNAL, version=VERSIONS)
    def link(self, id: str, external: str, version: int) -> None:
        before, sent = self.links.get(id), {"v": version}
        is_linked = before is not None and before.state == "linked"
        if self.taken(id, external) or (is_linked and before and before.external_id != external):
            with pytest.raises(PermanentError, match="already"):
                self.real.link(id, external, version, sent)
            return
        self.real.link(id, external, version, sent)
        if before and before.state != "intended" and before.version > version:
            sent = before.sent if is_linked else sent
            version = before.version
        self.links[id] = Link(external, version, "linked", "", sent, None)

    @rule(id=IDS, version=VERSIONS)
    def applied(self, id: str, version: int) -> None:
        self.real.applied(id, version, {"v": version})
        before = self.links.get(id)
        if before and before.state == "linked" and version >= before.version:
            self.links[id] = before._replace(version=version, sent={"v": version})

    @rule(id=IDS, version=VERSIONS)
    def gone(self, id: str, version: int) -> None:
        self.real.gone(id, version)
        before = self.links.get(id)
        newest = version if before is None or before.state == "intended" else max(before.version, version)
        self.links[id] = Link(before.external_id if before else None, newest, "gone", "", None, None)

    @rule(id=IDS, external=EXTERNAL)
    def rename(self, id: str, external: str) -> None:
        before = self.links.get(id)
        if before is None or before.state != "linked" or self.taken(id, external):
            with pytest.raises(PermanentError):
                self.real.rename(id, external)
        else:
            self.real.rename(id, external)
            self.links[id] = before._replace(external_id=external, version=0, sent=None)

    @rule(id=IDS)
    def unlink(self, id: str) -> None:
        before = self.links.pop(id, None)
        assert self.real.unlink(id) == (before.external_id if before else None)

    @rule(id=IDS)
    def withdraw(self, id: str) -> None:
        self.real.withdraw(id)
        if id in self.links and self.links[id].state == "intended":
            del self.links[id]

    @invariant()
    def agrees(self) -> None:
        found = self.real.find(list("abcd"))
        assert {id: link._replace(key="", intended_at=None) for id, link in found.items()} == {
            id: link._replace(key="") for id, link in self.links.items()
        }
        there = {id: link.external_id for id, link in self.links.items() if link.state == "linked"}
        assert self.real.external_of(list("abcd")) == there
        assert self.real.canonical_of(["X1", "X2", "X3"]) == {external: id for id, external in there.items()}


def test_whatever_happens_it_holds_what_it_should(state: State) -> None:
    Model.state = state
    run_state_machine_as_test(
        Model,
        settings=settings(
            max_examples=25, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


DELIVER = """
import sys, psycopg
from sorbus.identity.crosswalk import Crosswalk
from sorbus.state.database import State
dsn, data_type, ids = sys.argv[1], sys.argv[2], sys.argv[3].split(",")
crosswalk, target = Crosswalk(State(dsn), "books", data_type, data_type), psycopg.connect(dsn, autocommit=True)
left = set(ids)
while left:
    with crosswalk.claim(left) as ours:
        known = crosswalk.find(ours)
        for id in ours:
            if id not in known:
                crosswalk.intend(id, 1)
                made = target.execute("insert into made (id) values (%s) returning number", (id,))
                crosswalk.link(id, str(made.fetchone()[0]), 1, {"id": id})
        left -= ours
"""
HOLD = """
import sys, time
from sorbus.identity.crosswalk import Crosswalk
from sorbus.state.database import State
with Crosswalk(State(sys.argv[1]), "books", sys.argv[2], sys.argv[2]).claim(["a", "b"]) as ours:
    print(len(ours), flush=True)
    time.sleep(600)
"""


def test_processes_that_deliver_the_same_records_make_each_once(state: State, state_dsn: str, unique: str) -> None:
    with state.connection() as connection:
        connection.execute("create table made (number bigserial, id text)")
    ids = [f"r{number}" for number in range(60)]
    command = [sys.executable, "-c", DELIVER, state_dsn, unique, ",".join(ids)]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    for process in processes:
        _, told = process.communicate(timeout=60)
        assert process.returncode == 0, told
    with state.connection() as connection:
        made = connection.execute("select id, number::text from made").fetchall()
    assert sorted(id for id, _ in made) == sorted(ids), "each was made exactly once"
    assert Crosswalk(state, "books", unique, unique).external_of(ids) == dict(made)


def test_the_claims_of_a_killed_process_are_free(state: State, state_dsn: str, unique: str) -> None:
    crosswalk = Crosswalk(state, "books", unique, unique)
    command = [sys.executable, "-c", HOLD, state_dsn, unique]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "2\n"
            with crosswalk.claim(["a", "c"]) as ours:
                assert ours == {"c"}
        finally:
            holder.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 20
    ours = frozenset[str]()
    while ours != {"a", "b"}:
        assert time.monotonic() < deadline, f"20 s after the kill only {sorted(ours)} of a, b are free"
        with crosswalk.claim(["a", "b"]) as ours:
            pass


@pytest.mark.parametrize("odd", ["a\0b", "\0", "a\ud83db"])
def test_an_external_id_that_no_state_can_hold_is_nobodys_and_hides_no_other(
    state: State, crosswalk: Crosswalk, unique: str, odd: str
) -> None:
    crosswalk.intend("1", 1)
    crosswalk.link("1", "x", 1, None)
    there = [odd, "x"]
    assert crosswalk.owners_of(there) == {"x": Owner(unique, "1")}
    assert crosswalk.known_of(there) == crosswalk.canonical_of(there) == {"x": "1"}
    assert crosswalk.others(odd, 5) == ["x"]
    assert Candidates(state, "accounting", unique, unique).excluded("1", there) == set()
