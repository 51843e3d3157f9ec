"""The clock of Sorbus's database, far ahead for a moment and right again: nothing waits until then."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from sorbus.http_api.limits import Limiter
from sorbus.http_api.limits.breaker import FAULTS, LONGEST, Breaker
from sorbus.identity.crosswalk import Crosswalk
from sorbus.state import State
from sorbus.two_way.own_writes import OwnWrites
from sorbus.two_way.store import MergeStore
from sorbus.waiting.store import WaitingStore
from tests.http_api.test_limits import DAY, Clock, limit
from tests.waiting.test_store import lacks, needs, room_of

YEAR = 365 * DAY


@pytest.fixture
def clock(state: State) -> Clock:
    return Clock(state)


def one_taken(asking: Limiter) -> None:
    assert asking.take(patience=10) == 0.0


def told_to_wait(asking: Limiter) -> None:
    asking.heard(429, {}, 5.0)


def refused(asking: Limiter) -> None:
    asking.heard(429, {}, None)


def others_spent_all(asking: Limiter) -> None:
    one_taken(asking)
    asking.heard(200, {"X-Left": "0"}, None)


@pytest.mark.parametrize("ahead", [YEAR, 3600.0])
@pytest.mark.parametrize("seconds", [1.0, 60.0, DAY])
@pytest.mark.parametrize("meanwhile", [one_taken, told_to_wait, refused, others_spent_all])
def test_a_system_is_asked_as_often_as_its_limit_allows(
    state: State, clock: Clock, unique: str, ahead: float, seconds: float, meanwhile: Callable[[Limiter], None]
) -> None:
    asking = Limiter(state, unique, [limit(40, seconds, "X-Left")], flow="a")
    one_taken(asking)
    right = clock.at
    clock.set(right + ahead)
    one_taken(asking)
    meanwhile(asking)
    clock.set(right)
    taken = 0
    while taken < 60:
        wait = asking.take(patience=10)
        assert wait <= 1.05 * seconds + 10, f"{wait:.0f} seconds after {taken} requests"
        taken += wait == 0.0
        clock.go(wait)


@pytest.mark.parametrize("probes", [False, True])
def test_a_system_that_was_down_is_tried_again(state: State, clock: Clock, unique: str, *, probes: bool) -> None:
    breaker, right = Breaker(state, unique), clock.at
    clock.set(right + (0 if probes else YEAR))
    for _ in range(FAULTS):
        breaker.failed()
    if probes:
        clock.set(right + YEAR)
        assert breaker.allow() == 0.0
    clock.set(right + LONGEST)
    assert breaker.allow() == 0.0
    breaker.succeeded()
    assert breaker.allow() == 0.0


def shift(state: State, table: str, *columns: str) -> None:
    """As if the rows were written a year ahead."""
    moved = ", ".join(f"{name} = {name} + interval '1 year'" for name in columns)
    state.run(f"update {table} set {moved}".encode())


@pytest.mark.parametrize("in_hand", [False, True])
def test_a_deferred_record_goes_on(state: State, *, in_hand: bool) -> None:
    room, customers = room_of(state), Crosswalk(state, "books", "customer", "customers")
    room.put([needs("17", 5)], limit=60)
    if in_hand:
        customers.link("4711", "c-1", 1, None)
        assert len(room.take(10)) == 1
    shift(state, "waiting", "since", "until", "next_at")
    if not in_hand:
        customers.link("4711", "c-1", 1, None)
    assert [due.event.key for due in room.take(10)] == [b"17"]
    assert room.take(10) == [], "it is in somebody's hands"


def test_a_deferred_record_is_given_up_at_its_limit(state: State) -> None:
    room = WaitingStore(state, "invoice-to-books", "invoice", "books")
    room.put([needs("17", 5), lacks("18", 5)], limit=60)
    shift(state, "waiting", "since", "until", "next_at")
    room.put([needs("17", 6), lacks("18", 6)], limit=60)
    is_right = b"select since <= now() and coalesce(until <= now() + interval '60 seconds', true) from waiting"
    assert state.run(is_right) == [(True,), (True,)]


def test_a_creation_without_an_answer_is_waited_for_as_long_as_any(state: State, unique: str) -> None:
    links = Crosswalk(state, unique, "customer", "customers")
    for id in ("1", "2"):
        links.intend(id, 1)
    links.accepted("2", None)
    shift(state, "crosswalk", "intended_at", "accepted_at")
    first, second = (links.find(["1", "2"])[id] for id in ("1", "2"))
    assert first.accepted_at is None
    for at in (first.intended_at, second.intended_at, second.accepted_at):
        assert at is not None
        assert abs(datetime.now(UTC) - at) < timedelta(minutes=1)
    [before], [after] = (state.run(b"select min(intended_at) from crosswalk") for _ in range(2))
    assert before == after, "it is set to now each time"


def test_a_write_without_an_answer_is_looked_for(state: State) -> None:
    writes = OwnWrites(state, "crm", "customer")
    writes.open("1", "c-1", 2, {"name": "a"}, {"name": "b"})
    shift(state, "own_write", "opened_at")
    found = writes.find("1").open
    assert found is not None
    assert 0 <= found.age < 60


def test_a_record_that_its_system_of_record_lacks_is_told_of(state: State) -> None:
    state.run(
        b"insert into merged_record (data_type, id, version, about, owed, unlinked_since) values"
        b" ('customer', 'new', 0, '{}', false, now() + interval '1 year'),"
        b" ('customer', 'told', 0, '{}', false, 'infinity')"
    )
    unused = cast("Any", None)
    store = MergeStore(state, "customer", unused, unused, unused)
    assert store.unlinked(60, 10) == []
    state.run(b"update merged_record set unlinked_since = unlinked_since - interval '2 minutes'")
    assert store.unlinked(60, 10) == [b"new"]
