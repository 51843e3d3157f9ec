"""The waiting room: the newest state of each record waits, order holds whatever comes between, nothing is lost."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sorbus.identity.crosswalk import Crosswalk
from sorbus.state import State
from sorbus.waiting.store import (
    Due,
    HeldBack,
    Waiting,
    WaitingCursor,
    WaitingEvent,
    WaitingStore,
    counts,
    forget,
    missing,
    waiting,
)


def event(key: str, version: int, frame: bytes | None = b"frame") -> WaitingEvent:
    return WaitingEvent(key.encode(), version, frame, [("a", b"1"), ("b", None)], "invoice", 1, version)


def needs(key: str, version: int, customer: str = "4711") -> HeldBack:
    return HeldBack(
        event(key, version), "reference", [("customer", customer)], f"customer {customer} isn't in books yet"
    )


def lacks(key: str, version: int) -> HeldBack:
    return HeldBack(event(key, version), "incomplete", [("tax_number", "")], f"customer {key} lacks tax_number")


def room_of(state: State, flow: str = "invoice-to-books") -> WaitingStore:
    return WaitingStore(state, flow, "invoice", "books")


def test_a_record_goes_on_when_the_one_that_it_needs_is_linked_and_comes_back_as_it_was(state: State) -> None:
    room, customers = room_of(state), Crosswalk(state, "books", "customer", "customers")
    room.put([needs("17", 5), needs("18", 5, "4712")], limit=60)
    assert room.take(10) == [], "neither customer is there"
    customers.intend("4711", 1)
    assert room.take(10) == [], "what is being made isn't there"
    customers.link("4711", "c-1", 1, None)
    (due,) = room.take(10)
    assert due.event == event("17", 5)
    assert not due.is_over
    assert room.take(10) == [], "it is in somebody's hands"


def test_a_record_whose_need_can_not_be_seen_is_tried_after_a_pause_and_gives_up_at_its_own_limit(state: State) -> None:
    room = room_of(state)
    room.put([HeldBack(event("19", 2, None), "reference", [], "x", 1.0)], limit=60)
    assert room.take(10) == [], "it was tried just now"

    def taken() -> Due:
        deadline = time.monotonic() + 20
        while not (found := room.take(10)):
            assert time.monotonic() < deadline, "it is never tried again"
            time.sleep(0.02)
        return found[0]

    first = taken()
    assert first.event == event("19", 2, None)
    while not first.is_over:
        room.put([HeldBack(event("19", 2, None), "reference", [], "x", 1.0)], limit=60)
        first = taken()


def test_many_records_that_must_wait_longer_keep_no_other_back(state: State) -> None:
    room = room_of(state)

    def unseen(key: str) -> HeldBack:
        return HeldBack(event(key, 1), "reference", [], "its need can't be seen")

    room.put([unseen(f"early {number}") for number in range(20)], limit=3600)
    room.put([unseen("late")], limit=3600)
    tries, deadline = Counter[str](), time.monotonic() + 20
    while not tries["late"]:
        assert time.monotonic() < deadline, f"only these are ever tried: {tries}"
        found = [due.event.key.decode() for due in room.take(5)]
        tries.update(found)
        room.put([unseen(key) for key in found], limit=3600)
    assert max(tries.values()) <= 2, "each has its turn"


def test_what_a_record_needs_is_looked_for_in_the_system_that_its_flow_goes_to_now(state: State) -> None:
    needed = HeldBack(event("17", 5), "reference", [("customer", "4711", "customers")], "x")
    for system in ("books", "ledger"):
        room = WaitingStore(state, "invoices", "invoice", system)
        room.put([needed], limit=60)
    Crosswalk(state, "ledger", "customer", "customers").link("4711", "c-1", 1, None)
    assert [due.event.key for due in room.take(10)] == [b"17"]


@pytest.mark.parametrize("text", ["a\0b", "half of \ud83d"])
def test_whatever_is_said_of_a_record_it_waits(state: State, text: str) -> None:
    room = room_of(state)
    odd = HeldBack(event("17", 5), "reference", [("customer", text)], f"{text} is locked")
    room.put([odd, needs("18", 5)], limit=9)
    assert [one.id for one in waiting(state)] == ["17", "18"]


def test_only_the_newest_state_waits_and_what_has_landed_does_not(state: State) -> None:
    room = room_of(state)
    room.put([needs("17", 5)], limit=60)
    room.put([needs("17", 7)], limit=60)
    room.put([needs("17", 6)], limit=60)
    assert [one.version for one in waiting(state)] == [7]
    room.settle([(b"17", 6)])
    assert [one.version for one in waiting(state)] == [7], "an older state has landed"
    room.settle([(b"17", 7), (b"99", 1)])
    assert waiting(state) == []


def test_time_runs_on_when_a_newer_state_waits_for_the_same_and_ends(state: State) -> None:
    room = room_of(state)
    room.put([needs("17", 5)], limit=60)
    (first,) = waiting(state)
    room.put([needs("17", 6)], limit=60)
    (second,) = waiting(state)
    assert (second.since, second.until) == (first.since, first.until)
    room.put([needs("17", 6)], limit=0)
    (due,) = room.take(10)
    assert due.is_over


def test_incomplete_records_wait_without_end_and_are_tried_when_woken(state: State) -> None:
    room = room_of(state)
    room.put([lacks("4711", 1), lacks("4712", 1)], limit=0)
    assert room.take(10) == []
    assert [one.until for one in waiting(state, why="incomplete")] == [None, None]
    first = min(one.since for one in waiting(state))
    assert counts(state) == {("invoice-to-books", "incomplete"): (2, first)}
    assert room.wake("4711") == 1
    assert [due.event.key for due in room.take(10)] == [b"4711"]
    assert room.wake() == 2


def test_pages_go_on_behind_the_last_one_and_leave_none_out(state: State) -> None:
    for flow in ("invoice-to-books", "invoice-to-crm"):
        room_of(state, flow).put([lacks(str(key), 1) for key in range(5)], limit=0)
    whole, found = waiting(state), list[Waiting]()
    while page := waiting(
        state, after=WaitingCursor(found[-1].since, found[-1].flow, found[-1].id) if found else None, most=3
    ):
        found += page
    assert len(whole) == 10
    assert found == whole


def test_what_is_missing_is_counted_by_field(state: State) -> None:
    both = HeldBack(event("4713", 1), "incomplete", [("tax_number", ""), ("name", "")], "customer 4713 lacks two")
    room_of(state).put([lacks("4711", 1), lacks("4712", 1), both, needs("17", 1)], limit=60)
    assert [(one.flow, one.field, one.records) for one in missing(state)] == [
        ("invoice-to-books", "tax_number", 3),
        ("invoice-to-books", "name", 1),
    ]


def test_a_forgotten_record_leaves_the_rooms_of_all_flows(state: State) -> None:
    for flow in ("invoice-to-books", "invoice-to-crm"):
        room_of(state, flow).put([needs("17", 1), needs("18", 1)], limit=60)
    assert forget(state, "invoice", "17") == ["invoice-to-books", "invoice-to-crm"]
    assert {one.id for one in waiting(state)} == {"18"}
    assert forget(state, "customer", "18") == []


@dataclass
class World:
    """A topic of one record's versions, a target with the version guard, and what the loop does between them."""

    room: WaitingStore
    events: int
    committed: int = 0
    landed: int = 0
    seen: list[int] = field(default_factory=list)

    def deliver(self, count: int, is_ready: bool, crash: str) -> None:
        """Takes some events of the topic with what is due, as the loop does, and may crash on the way."""
        taken = list(range(self.committed + 1, min(self.events, self.committed + count) + 1))
        due = [due.event.version for due in self.room.take(10)]
        if not taken and not due:
            return
        newest = max([*taken, *due])
        if is_ready:
            self.landed = max(self.landed, newest)
            self.seen.append(self.landed)
        else:
            self.room.put([needs("17", newest)], limit=0)
        if crash == "before settling":
            return
        keys = [(b"17", version) for version in [*taken, *due] if is_ready or version != newest]
        self.room.settle(keys)
        if crash != "before the offset":
            self.committed += len(taken)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.booleans(), st.sampled_from(["", "", "before settling", "before the offset"])),
        max_size=12,
    ),
    st.integers(1, 6),
)
def test_whatever_crashes_between_the_newest_state_lands_and_no_older_one_after_it(
    state: State, steps: list[tuple[int, bool, str]], events: int
) -> None:
    room = room_of(state)
    state.run(b"delete from waiting")
    world = World(room, events)
    for count, is_ready, crash in steps:
        room.wake()  # as a restart does
        world.deliver(count, is_ready, crash)
    for _ in range(2):
        room.wake()
        world.deliver(events, is_ready=True, crash="")
    assert world.landed == events
    assert world.seen == sorted(world.seen)
    assert waiting(state) == []
