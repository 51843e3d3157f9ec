"""The thread that keeps topics' indexes: what fails for one topic ends it for no other."""

from __future__ import annotations

import threading
from typing import cast

import pytest

from sorbus.map.loaded import LoadedMap
from sorbus.mapfile.model import Map
from sorbus.ops.trace import keep_index
from sorbus.ops.trace.key_index import KeyIndex
from sorbus.settings import Settings
from sorbus.state.database import State

COMPANY = Map.model_validate(
    {
        "systems": {"crm": {"kind": "postgres"}},
        "data_types": {name: {"system_of_record": "crm"} for name in ("order", "customer")},
    }
)


def test_a_topic_whose_index_fails_unforeseen_is_said_and_the_others_are_kept(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    kept = threading.Event()

    class Index:
        def __init__(self, settings: Settings, state: State, topic: str) -> None:
            self._topic = topic

        def extend(self, *, pace: float) -> None:
            if self._topic.endswith("order"):
                raise ValueError("unforeseen")
            kept.set()

    monkeypatch.setattr(keep_index, "_EVERY", 0.01)
    monkeypatch.setattr(keep_index, "KeyIndex", cast("type[KeyIndex]", Index))
    loaded = LoadedMap(COMPANY, {}, {})
    with keep_index.IndexKeeper(lambda: loaded, Settings(), cast("State", None)):
        assert kept.wait(10)
    assert any(one.levelname == "ERROR" and "order" in one.getMessage() for one in caplog.records)
