"""The page of a flow, where people pause and resume it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sorbus.audit import AuditTrail
from sorbus.bus.controls import ControlReader, FlowPause
from sorbus.bus.kafka import admin
from sorbus.bus.names import Names
from sorbus.map.loaded import LoadedMap
from sorbus.ops.embedded import Addresses
from sorbus.ops.runtime.topics import plan_topics, topics_of
from sorbus.settings import Settings
from sorbus.state import State
from tests.ops.console.visitor import Served

FLOW = "customer-to-accounting"
PAGE = f"/flows/{FLOW}"


Told = Callable[[], FlowPause | None]


@pytest.fixture
def told(stack: Addresses, loaded: LoadedMap) -> Told:
    """The flow's pause, read beside the console."""
    settings, names = Settings(kafka=stack.kafka), Names(loaded.map.topic_prefix)
    client = admin(settings)
    for step in plan_topics(client, [one for one in topics_of(loaded.map) if one.name == names.controls]):
        assert step.apply is not None
        step.apply()

    def read() -> FlowPause | None:
        reader = ControlReader(settings, names)
        try:
            return reader.of(FLOW).pause
        finally:
            reader.close()

    return read


def test_a_person_pauses_and_resumes_a_flow(console: Served, state: State, told: Told) -> None:
    visitor = console.visitor()
    refused = visitor.post(PAGE, {"action": "pause", "reason": " "})
    assert refused.status_code == 303
    assert "say why the flow is to pause" in visitor.get(PAGE).text
    assert told() is None
    assert visitor.post(PAGE, {"action": "pause", "reason": "stock<taking"}).headers["location"] == PAGE
    pause = told()
    assert isinstance(pause, FlowPause)
    assert pause.reason == "stock<taking"
    assert "stock&lt;taking" in visitor.get(PAGE).text
    visitor.post(PAGE, {"action": "resume"})
    assert told() is None
    assert [(one.action, one.who) for one in reversed(AuditTrail(state).page())] == [
        ("pause", pause.who),
        ("resume", pause.who),
    ]


def test_what_can_not_be_done_is_said(console: Served, told: Told) -> None:
    visitor = console.visitor()
    for sent, words in (
        ({"action": "sync"}, "real-time"),
        ({"action": "stop"}, "nothing a flow can be told"),
        ({"action": "again", "id": " "}, "say which record"),
        ({"action": "again", "since": "soon"}, "is no time"),
        ({"action": "resume"}, "isn&#39;t paused"),
    ):
        visitor.post(PAGE, sent)
        assert words in visitor.get(PAGE).text
    visitor.post("/flows/customer-to-plan", {"action": "pause", "reason": "x"}, form=PAGE)
    assert "no flow" in visitor.get(PAGE).text
