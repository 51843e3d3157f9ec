"""A replay that was stopped is resumed only where what it has done still holds: for the same map and the same topic."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sorbus.bus.kafka import admin
from sorbus.map.load import load_map
from sorbus.ops.replay import replay as replaying
from sorbus.ops.replay import topic_delivery
from sorbus.ops.replay.run import ReplayRun
from sorbus.ops.replay.selection import Selection
from sorbus.ops.runtime.topics import plan_topics, topics_of
from sorbus.state.database import migrate
from tests.consumers.line import FLOW, Line, eventually, named
from tests.consumers.plugin import MakeLine, make_line

__all__ = ["make_line"]
RECORDS = {f"g{n:03}": f"n{n}" for n in range(200)}


@pytest.fixture
def line(make_line: MakeLine, monkeypatch: pytest.MonkeyPatch) -> Line:
    """A flow with Sorbus's own database, in small batches."""
    monkeypatch.setattr(replaying, "BATCH", 20)
    monkeypatch.setattr(topic_delivery, "BATCH", 20)
    monkeypatch.setattr(replaying, "_SAVE_EVERY", 0.0)
    made = make_line()
    migrate(made.state)
    for name in ("SORBUS_KAFKA", "SORBUS_REGISTRY", "SORBUS_DATABASE"):
        monkeypatch.setenv(name, made.env[name])
    return made


def replay(line: Line, *, shadow: bool, stops: bool = False) -> str:
    run = ReplayRun(load_map(line.folder / "map.yaml"), FLOW, "a person")

    def progress(_doing: str, done: int, _total: int) -> None:
        if stops and done >= 100:
            raise KeyboardInterrupt

    if shadow:
        return run.shadow(Selection(), progress, remove_extra=False).words
    return run.in_place(Selection(), progress, without_deleted=True).words


def stop_halfway(line: Line, *, shadow: bool) -> None:
    with pytest.raises(KeyboardInterrupt):
        replay(line, shadow=shadow, stops=True)


def write_sheet(line: Line, rule: str) -> None:
    rows = [
        f"canonical;gadget.{name};books;gadgets.{name};{rule if name == 'name' else ''}" for name in ("name", "note")
    ]
    rows += [f"canonical;gadget.lines[].{name};books;gadget_lines.{name};" for name in ("sku", "quantity")]
    (line.folder / "mappings").mkdir(exist_ok=True)
    text = "\n".join(["Source System;Source Field;Target System;Target Field;Rule", *rows])
    (line.folder / "mappings" / "books.csv").write_text(f"{text}\n")


@pytest.mark.parametrize("shadow", [False, True])
def test_a_replay_that_was_stopped_begins_anew_where_the_mapping_has_changed(line: Line, shadow: bool) -> None:
    write_sheet(line, "value | upper")
    line.publish((id, 1, named(name)) for id, name in RECORDS.items())
    replay(line, shadow=False)
    line.until({id: name.upper() for id, name in RECORDS.items()})
    stop_halfway(line, shadow=shadow)
    write_sheet(line, "'new ' ~ value")
    replay(line, shadow=shadow)
    assert line.rows() == {id: f"new {name}" for id, name in RECORDS.items()}


def test_a_replay_that_was_stopped_begins_anew_where_the_topic_was_made_again(line: Line) -> None:
    line.publish((id, 1, named(name)) for id, name in RECORDS.items())
    stop_halfway(line, shadow=False)
    client = admin(line.settings)
    for future in client.delete_topics([line.topic]).values():
        future.result(30)
    eventually(lambda: line.topic not in client.list_topics(timeout=10).topics, "the topic's end")
    for step in plan_topics(client, topics_of(line.loaded.map)):
        if step.apply is not None:
            step.apply()
    line.execute("truncate gadgets, gadget_lines")
    made_again(line)
    replay(line, shadow=False)
    assert line.rows() == {id: f"again {name}" for id, name in RECORDS.items()}


def made_again(line: Line) -> None:
    from confluent_kafka import Producer

    from sorbus.bus.kafka import base_config

    line._producer = Producer(base_config(line.settings, "test"))  # the one before takes the topic for gone
    line.publish((id, 9, named(f"again {name}")) for id, name in RECORDS.items())


@pytest.mark.parametrize("shadow", [False, True])
def test_a_replay_that_was_stopped_goes_on_where_all_is_as_it_was(line: Line, shadow: bool) -> None:
    line.publish((id, 1, named(name)) for id, name in RECORDS.items())
    stop_halfway(line, shadow=shadow)
    run = ReplayRun(load_map(line.folder / "map.yaml"), FLOW, "a person")
    begun: list[int] = []
    run_it: Callable[..., object] = run.shadow if shadow else run.in_place
    more: dict[str, object] = {"remove_extra": False} if shadow else {"without_deleted": True}
    run_it(Selection(), lambda _doing, done, _total: begun.append(done), **more)
    assert begun[0] > 60
    assert line.rows() == RECORDS
