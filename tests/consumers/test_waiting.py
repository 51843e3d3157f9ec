"""A flow's waiting records: given up in words whatever they need, and tried again whenever the state comes back."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import NoReturn

import pytest
from confluent_kafka import Message
from psycopg.errors import UndefinedTable

from sorbus.bus.deserialize import DecodedBatch
from sorbus.consumers import waiting as waiting_module
from sorbus.consumers.waiting import FlowWaiting
from sorbus.errors import AuthError, MustWait, PermanentError, SorbusError, TransientError
from sorbus.privacy.errors import flow_privacy
from sorbus.state import State
from tests.consumers.gadgets import Writer, flow_into, gadget

NEEDS: dict[str, tuple[MustWait, str]] = {
    "a record": (
        MustWait("gadget 1 isn't there", why="reference", needs=[("gadget", "1", "gadgets")]),
        r"isn't there; it has waited for 1s\. See why gadget 1 doesn't reach books",
    ),
    "something that can't be seen": (
        MustWait("the producer doesn't run", why="reference"),
        r"doesn't run; it has waited for 1s\. Once that is put right, `sorbus dlq requeue`",
    ),
    "something, with the error of its dead letter": (
        MustWait("it is locked", why="reference", refused=PermanentError("it stays locked", reason="refused")),
        "it stays locked",
    ),
}
NOT_MADE = TransientError("run `sorbus apply`")
NOT_MADE.__cause__ = UndefinedTable()
MakeWaiting = Callable[..., FlowWaiting]


@pytest.fixture
def make_waiting(state: State, monkeypatch: pytest.MonkeyPatch) -> MakeWaiting:
    monkeypatch.setenv("SORBUS_DATABASE", "postgresql://configured")

    def make(**update: object) -> FlowWaiting:
        bound = flow_into("postgresql://nowhere")
        bound = replace(bound, flow=bound.flow.model_copy(update=update))
        return FlowWaiting(bound, flow_privacy(bound, lambda _: bound.schema, {}), state)

    return make


def message(id: str) -> Message:
    value, headers = Writer().event(id, 1, gadget("x"))
    return Message(topic="gadget", partition=0, offset=1, key=id.encode(), value=value, headers=list(headers))


def delivered(waiting: FlowWaiting, id: str, version: int) -> None:
    """This version of a record has come to the target."""
    newer = Writer().delivery(id, version, gadget("y"))
    waiting.settle(DecodedBatch([newer], [message(id)], [], [], 0), [])


def due(waiting: FlowWaiting) -> list[Message]:
    """Those to be tried next."""
    deadline = time.monotonic() + 30
    while not (found := waiting.due(10)):
        assert time.monotonic() < deadline, "nothing is ever tried again"
    return found


@pytest.mark.parametrize("need", NEEDS)
def test_what_waited_too_long_is_a_dead_letter_that_says_why(make_waiting: MakeWaiting, need: str) -> None:
    error, words = NEEDS[need]
    waiting = make_waiting(wait_limit="1s")
    waiting.open()
    assert waiting.admit([(message("1"), error)]) == []
    while not (dead := waiting.admit([(one, error) for one in due(waiting)])):
        pass
    ((_, told),) = dead
    assert not isinstance(told, MustWait)
    with pytest.raises(PermanentError, match=words):
        raise told


def test_what_waits_is_tried_again_although_the_state_was_away_at_the_start(
    make_waiting: MakeWaiting, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = NEEDS["something that can't be seen"][0]
    before = make_waiting()
    before.open()
    before.admit([(message("1"), error)])

    def away(*_: object) -> NoReturn:
        raise TransientError("the state is away")

    waiting = make_waiting()
    with monkeypatch.context() as patch:
        patch.setattr(state, "run", away)
        waiting.open()
        assert waiting.due(10) == []
    assert waiting.admit([(message("2"), error)]) == [], "it waits, and is no dead letter"
    tried: set[object] = set()
    while len(tried) < 2:
        tried |= {one.key() for one in due(waiting)}
    assert tried == {b"1", b"2"}


@pytest.mark.parametrize("since", ["the start", "later"])
@pytest.mark.parametrize("fault", [AuthError("password authentication failed"), NOT_MADE])
def test_a_flow_whose_records_seldom_wait_goes_on_while_the_state_refuses_it(
    make_waiting: MakeWaiting, state: State, monkeypatch: pytest.MonkeyPatch, fault: SorbusError, since: str
) -> None:
    error = NEEDS["something that can't be seen"][0]
    waiting = make_waiting()
    waiting.open()
    waiting.admit([(message("1"), error)])
    asked: list[object] = []

    def refused(*_: object) -> NoReturn:
        asked.append(1)
        raise fault

    with monkeypatch.context() as patch:
        patch.setattr(state, "run", refused)
        patch.setattr(state, "connection", refused)
        if since == "the start":
            waiting = make_waiting()
            waiting.open()
        waiting._look_at = 0.0
        for _ in range(3):
            assert waiting.due(10) == []
        assert len(asked) <= 2, "each time is a login"
        delivered(waiting, "7", 1)
        assert [one.key() for one, _ in waiting.admit([(message("2"), error)])] == [b"2"], "it is a dead letter"
    waiting._look_at = 0.0
    assert [one.key() for one in due(waiting)] == [b"1"], "what waited before is tried again"


@pytest.mark.parametrize("rest", ["a restart", "quiet hours"])
def test_what_waited_while_nothing_could_be_tried_is_not_given_up_at_once(
    make_waiting: MakeWaiting, state: State, monkeypatch: pytest.MonkeyPatch, rest: str
) -> None:
    """The flow of what it needs was held up as long, and goes on at the same moment."""
    error = NEEDS["a record"][0]
    waiting = make_waiting(wait_limit="1h")
    waiting.open()
    waiting.admit([(message("1"), error)])
    state.run(b"update waiting set since = since - interval '1 day', until = until - interval '1 day'")
    if rest == "a restart":
        waiting = make_waiting(wait_limit="1h")
        waiting.open()
    else:
        waiting._asked_at -= 12 * 3600
    for _ in range(2):
        assert waiting.admit([(one, error) for one in due(waiting)]) == []
        assert waiting.due(10) == [], "it has more time, and isn't tried all the time meanwhile"
        state.run(b"update waiting set until = now()")
    monkeypatch.setattr(waiting_module, "_MORE", 0.0)
    ((_, told),) = waiting.admit([(one, error) for one in due(waiting)])
    assert "it has waited for 1h" in str(told)


def test_what_waited_too_long_is_given_up_also_where_each_turn_is_long(make_waiting: MakeWaiting, state: State) -> None:
    error = NEEDS["a record"][0]
    waiting = make_waiting(wait_limit="1h")
    waiting.open()
    waiting.admit([(message("1"), error)])
    dead: list[object] = []
    for _ in range(10):
        state.run(b"update waiting set since = since - interval '1 day', until = now()")
        waiting._asked_at -= 61  # the turn before has taken a minute
        waiting._goes_on_since -= 61
        dead += waiting.admit([(one, error) for one in waiting.due(10)])
        waiting._look_at = 0.0
    assert len(dead) == 1


def test_what_was_delivered_by_another_process_meanwhile_does_not_wait_again(
    make_waiting: MakeWaiting, state: State
) -> None:
    error = MustWait("tax_number is missing", why="incomplete", needs=[("tax_number", "")])
    one, other = make_waiting(on_incomplete="hold"), make_waiting(on_incomplete="hold")
    one.open()
    one.admit([(message("1"), error), (message("2"), error)])
    one.open()
    taken = due(one)
    delivered(other, "1", 2)
    one.admit([(each, error) for each in taken])
    assert [(row[0], row[1]) for row in state.run(b"select key, version from waiting")] == [(b"2", 1)]
