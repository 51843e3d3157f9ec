"""Nothing is delivered to a system of a two-way data type before a person has accepted how it is joined."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import cast

import pytest

from sorbus.connector import BoundFlow
from sorbus.map.loaded import LoadedMap
from sorbus.mapfile.model import Flow
from sorbus.ops.two_way.accept import accept_join
from sorbus.ops.two_way.join import JoinedSystem, JoinPlan
from sorbus.settings import Settings
from sorbus.state.database import State, close_states, migrate
from sorbus.two_way.joined import joined, joined_before, why_not_joined

PREFIX = "joined."


@pytest.fixture
def state(make_database: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> Iterator[State]:
    monkeypatch.setenv("SORBUS_DATABASE", make_database(""))
    found = State.of(PREFIX)
    migrate(found)
    yield found
    close_states()


def flow(to: str, direction: str = "two-way") -> BoundFlow:
    made = Flow.model_validate({"data_type": "customer", "to": to, "direction": direction, "target": {}})
    system = SimpleNamespace(topic_prefix=PREFIX, name=to)
    return cast("BoundFlow", SimpleNamespace(flow=made, system=system))


def accept(*systems: str, again: bool = False) -> None:
    loaded = cast("LoadedMap", SimpleNamespace(map=SimpleNamespace(topic_prefix=PREFIX)))
    plan = JoinPlan("customer", "crm", frozenset(), {system: JoinedSystem() for system in systems})
    accept_join(loaded, Settings(), plan, "ada", again=again)


def test_each_system_is_accepted_once_and_others_are_not_joined_anew(state: State) -> None:
    assert why_not_joined(flow("books", "one-way")) is None
    assert "sorbus two-way join customer" in str(why_not_joined(flow("books")))
    accept("books")
    assert why_not_joined(flow("books")) is None
    assert why_not_joined(flow("crm")) is None
    assert "support isn't joined yet" in str(why_not_joined(flow("support")))
    accept("books", "support")
    assert why_not_joined(flow("support")) is None
    assert joined(state, "customer").generation == 1
    accept("books", "support", again=True)
    again = joined(state, "customer").generation
    assert again > 1
    state.run(b"update joined_type set generation = 1")  # restored: a position in Kafka tells of the later one
    accept("books", "support", again=True)
    assert joined(state, "customer").generation >= again


def test_what_an_earlier_release_accepted_stays_accepted(state: State) -> None:
    state.run(b"insert into joined_type (data_type, joined_by) values ('customer', 'ada')")
    assert why_not_joined(flow("books")) is None
    joined_before(state, "customer", ["crm", "books"])
    joined_before(state, "customer", ["crm", "books", "support"])
    assert why_not_joined(flow("books")) is None
    assert why_not_joined(flow("support")) is not None
