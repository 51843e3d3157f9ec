"""Events older than what the target has: told where they can't be repeats, and only there."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from confluent_kafka import Consumer, TopicPartition

from sorbus.bus.kafka import base_config
from sorbus.telemetry.metrics import STALE
from tests.consumers.line import FLOW, Line, eventually, named

NEWER = 100


def counted() -> int:
    return int(STALE.labels(FLOW)._value.get())


def rows_from_elsewhere(line: Line) -> None:
    """As another map, or a restored database, has left them."""
    line.execute(f"insert into gadgets (id, name, sorbus_version) values ('g1', 'newer', {NEWER})")
    line.publish([("g1", 5, named("older")), ("g2", 5, named("g2"))])


def delete_from_elsewhere(line: Line) -> None:
    line.execute(
        "insert into sorbus_applied (relation, id, version)"
        f" values ('public.gadgets', 'g1', {NEWER}) on conflict do nothing"
    )
    line.publish([("g1", 5, named("older")), ("g2", 5, named("g2"))])


def delete_that_is_older(line: Line) -> None:
    line.execute(f"insert into gadgets (id, name, sorbus_version) values ('g1', 'newer', {NEWER})")
    line.publish([("g1", 5, None), ("g2", 5, named("g2"))])


def another_owner_in_one_batch(line: Line) -> None:
    line.publish([("g1", NEWER, named("newer")), ("g1", 5, named("older")), ("g2", 5, named("g2"))])


CAUSES = {
    "a row with a newer version": rows_from_elsewhere,
    "a delete with a newer version": delete_from_elsewhere,
    "a delete that is older": delete_that_is_older,
    "a topic whose versions go back": another_owner_in_one_batch,
}


@pytest.mark.parametrize("make", CAUSES.values(), ids=CAUSES)
def test_an_event_that_changed_nothing_and_is_no_repeat_is_told(
    line: Line, make: Callable[[Line], None], caplog: pytest.LogCaptureFixture
) -> None:
    before = counted()
    make(line)
    with line.consuming() as running:
        eventually(lambda: "g2" in line.rows() and counted() == before + 1, "one event that is counted")
        eventually(lambda: "stale" in running.health.notes(), "the note of it")
        note = running.health.notes()["stale"]
        assert f"gadget g1 (version 5, it has {NEWER})" in note
        assert "sorbus trace gadget g1" in note
        assert f"g1 (version 5, it has {NEWER})" in caplog.text
        line.publish([("g1", NEWER + 1, named("newest"))])
        eventually(lambda: line.rows().get("g1") == "newest" and not running.health.notes(), "the end of the note")
    assert counted() == before + 1


def test_versions_that_go_back_are_told_after_the_newer_one_landed(line: Line) -> None:
    before = counted()
    with line.consuming():
        line.publish([("g1", NEWER, named("newer"))])
        line.until({"g1": "newer"})
        for version in (5, 6):
            line.publish([("g1", version, named("older"))])
            eventually(lambda version=version: counted() == before + version - 4, "an event that is counted")  # type: ignore[misc]
        assert line.rows() == {"g1": "newer"}


def test_what_comes_again_is_no_finding(line: Line) -> None:
    before = counted()
    line.publish((f"g{n % 3}", n, named(f"v{n}")) for n in range(1, 31))
    ends = {f"g{n % 3}": f"v{n}" for n in (28, 29, 30)}
    with line.consuming(batch=1):
        line.until(ends)
    consumer = Consumer({**base_config(line.settings, "test"), "group.id": line.names.group(FLOW)})
    consumer.commit(offsets=[TopicPartition(line.topic, part, 0) for part in (0, 1)], asynchronous=False)
    consumer.close()
    with line.consuming(batch=1) as running:  # each older event alone, the newest last
        line.publish([("end", 1, named("end"))])
        line.until({**ends, "end": "end"})
        assert not running.health.notes()
    assert counted() == before


def test_a_trace_says_what_the_target_has(line: Line) -> None:
    rows_from_elsewhere(line)
    told = line.sorbus("trace", "gadget", "g1", status=1)
    assert "has a newer version than its topic" in told
    assert f"the target has version {NEWER}, newer than the event's (5)" in told
