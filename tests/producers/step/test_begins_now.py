"""A step with `begin: now` makes nothing of what was there before it, whatever fails meanwhile."""

from __future__ import annotations

import psycopg
import pytest

from sorbus.conformance.sample_type import NAME
from sorbus.errors import LostPosition
from sorbus.state import State
from tests.producers.step.test_faults import read_and_published, thing
from tests.producers.step.test_stateful import (
    NowMachine,
    small_batches,
    state,
)

__all__ = ["small_batches", "state"]


def begun_now(state: State, monkeypatch: pytest.MonkeyPatch, things: int) -> NowMachine:
    """A step with `begin: now` over a topic that holds things which fit; nothing is read yet."""
    monkeypatch.setattr(NowMachine, "state", state)
    machine = NowMachine()
    for number in range(things):
        machine.say(str(number), thing())
    return machine


def test_a_step_that_begins_now_makes_nothing_of_what_was_there_although_kafka_fails(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = begun_now(state, monkeypatch, 9)
    machine.log.faults = 2
    machine.bus.settle()
    machine.say("10", thing())
    machine.bus.settle()
    assert machine.bus.live().keys() == {"10"}


def test_a_step_that_begins_now_makes_nothing_of_what_was_there_although_the_database_is_away(
    state: State, monkeypatch: pytest.MonkeyPatch, database: str
) -> None:
    machine = begun_now(state, monkeypatch, 9)
    machine.bus.producer()
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(f"alter table {state.schema}.step_record rename to away".encode())
        with pytest.raises(AssertionError, match="never gets anywhere"):
            machine.bus.read()
        assert machine.bus.position is None
        connection.execute(f"alter table {state.schema}.away rename to step_record".encode())
    machine.bus.settle()
    machine.say("10", thing())
    machine.bus.settle()
    assert machine.bus.live().keys() == {"10"}


def test_a_dead_letter_of_before_the_step_began_makes_nothing_because_the_step_is_restarted(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = begun_now(state, monkeypatch, 2)
    machine.bus.settle()
    machine.say("1", {**thing(), "count": None})
    machine.bus.settle()
    assert machine.bus.rejected.keys() == {"1"}
    machine.bus.crash()
    machine.say("1", thing(30))
    machine.bus.settle()
    assert machine.bus.live() == {}
    machine.bus.producer().reread(NAME, [b"1"])  # a person asks for it
    machine.bus.settle()
    assert machine.bus.live().keys() == {"1"}


def test_what_comes_new_to_a_step_that_begins_now_is_a_change_although_it_died_when_it_began(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else flows with `notify: changes` would tell nobody."""
    machine = begun_now(state, monkeypatch, 2)
    earlier = machine.bus.producer()._earlier
    assert earlier is not None
    while machine.bus.read() is None or not earlier.has_begun():
        pass
    machine.bus.crash()
    assert machine.bus.position is None
    machine.say("10", thing())
    made = [batch for batch in read_and_published(machine) if batch.changes]
    assert [[change.id for change in batch.changes] for batch in made] == [[b"10"]]
    assert [batch.copied for batch in made] == [None]


def test_a_step_whose_database_forgot_what_was_there_stops(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = begun_now(state, monkeypatch, 2)
    machine.bus.settle()
    machine.bus.crash()
    state.run(b"delete from step_begin")
    with pytest.raises(LostPosition, match=r"begun before.*restore the database.*begin: beginning"):
        machine.bus.producer()
    assert machine.bus.live() == {}


def test_what_is_made_already_goes_on_when_the_step_begins_now_by_another_name(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = begun_now(state, monkeypatch, 2)
    machine.bus.settle()
    machine.say("2", thing())
    machine.bus.settle()
    assert machine.bus.live().keys() == {"2"}
    machine.bus.crash()
    machine.name, machine.bus.position = f"{machine.name}-renamed", None
    machine.bus.settle()
    machine.say("1", thing(30))
    machine.say("2", thing(30))
    machine.bus.settle()
    assert {id: one["count"] for id, one in machine.bus.live().items()} == {"2": 30}


def test_what_is_asked_of_a_step_while_it_begins_now_is_not_asked_of_it_for_ever(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = begun_now(state, monkeypatch, 3)
    machine.bus.producer().resnapshot([NAME])
    machine.bus.settle()
    assert machine.bus.position is not None
    assert not machine.bus.position["is_again"], "there was nothing to be made again"
    assert machine.bus.live() == {}
