"""What is fetched while a batch is delivered: nothing lost, nothing delivered twice, whoever takes the partitions."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar

import pytest
from confluent_kafka import ConsumerGroupState, Message

from sorbus.bus.kafka import admin, offset_of, partition_of
from sorbus.connector import Delivery, RejectedDelivery
from sorbus.consumers import loop, prefetch
from sorbus.consumers.group_member import GroupMember
from sorbus.consumers.postgres.consumer import PostgresConsumer
from sorbus.consumers.prefetch import Prefetch
from sorbus.errors import LostPosition
from sorbus.telemetry.health import Health
from sorbus.telemetry.stop import Stop
from tests.consumers.line import FLOW, Line, eventually, named

SLOWLY = (
    "create function slowly() returns trigger language plpgsql as 'begin perform pg_sleep(0.002); return new; end';"
    "create trigger slowly before insert or update on gadgets for each row execute function slowly()"
)


@pytest.fixture(autouse=True)
def _always(monkeypatch: pytest.MonkeyPatch) -> None:
    """However few events come."""
    monkeypatch.setattr(loop, "WORTHWHILE", 1)


class Noting(PostgresConsumer):
    """It notes what it has delivered."""

    delivered: ClassVar[list[tuple[bytes, int]]] = []

    def apply(
        self, deliveries: Sequence[Delivery], *, again: bool = False, alone: bool = False
    ) -> list[RejectedDelivery]:
        refused = super().apply(deliveries, again=again, alone=alone)
        self.delivered.extend((one.id, one.version) for one in deliveries)
        return refused


def test_what_came_while_a_batch_was_delivered_is_delivered_next(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = []
    ahead = loop.BatchDelivery.decode_ahead

    def noted(delivery: loop.BatchDelivery, messages: Sequence[Message]) -> None:
        decoded.append(len(messages))
        ahead(delivery, messages)

    monkeypatch.setattr(loop.BatchDelivery, "decode_ahead", noted)
    for version in range(1, 9):
        line.publish((f"g{n}", version, named(f"v{version}")) for n in range(500))
    line.publish((f"g{n}", 9, None) for n in range(250))
    with line.consuming(batch=100):
        line.until({f"g{n}": "v8" for n in range(250, 500)})
    assert sum(decoded) > 100, "no batch was decoded ahead"


def test_partitions_move_when_the_batch_in_hand_has_landed(line: Line) -> None:
    """What another consumer begins with is neither before what the first one delivered, nor behind it."""
    line.execute(SLOWLY)
    Noting.delivered.clear()
    line.publish((f"g{n}", 1, named("x")) for n in range(3000))
    with line.consuming(make=lambda: Noting(line.flow)):
        busy = "select 1 from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()"
        eventually(lambda: line.connection.execute(busy.encode()).fetchall(), "a batch in the target")
        with line.consuming(make=lambda: Noting(line.flow)) as second:
            eventually(lambda: _state(line) != ConsumerGroupState.STABLE, "a rebalance")
            line.until({f"g{n}": "x" for n in range(3000)})
            eventually(lambda: second.health.waiting() is None, "the second consumer")
    assert sorted(Noting.delivered) == sorted((f"g{n}".encode(), 1) for n in range(3000))


def test_what_was_fetched_of_partitions_that_moved_is_left_to_their_next_owner(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    moving = threading.Event()
    with member(line) as first:
        eventually(lambda: first.poll(1) is not None and _mine(first, line) == {0, 1}, "all partitions")
        line.publish((f"g{n}", 1, named("x")) for n in range(50))
        eventually(lambda: first.poll(100), "the first events")
        first.poll(100)
        line.publish((f"g{n}", 2, named("x")) for n in range(50))
        first.prefetch(1000, lambda _: None)
        eventually(lambda: {one.partition() for one in first._prefetch._found} == {0, 1}, "events of both partitions")
        may_move = first._prefetch.wait_to_move
        monkeypatch.setattr(first._prefetch, "wait_to_move", lambda: (moving.set(), may_move()))
        with member(line) as second:
            eventually(lambda: second.poll(1) is not None and moving.is_set(), "the move")
            found = [one for one in first.poll(1000) if one.error() is None]
            assert {one.partition() for one in found} == _mine(first, line) != {0, 1}


def test_messages_that_are_read_again_come_before_what_was_fetched_behind_them(line: Line) -> None:
    """Quiet hours begin, and the target takes fewer at a time than when the next were fetched."""
    with member(line) as first:
        eventually(lambda: first.poll(1) is not None and _mine(first, line) == {0, 1}, "all partitions")
        line.publish((f"g{n}", 1, named("x")) for n in range(200))
        fetched = first._prefetch
        first.prefetch(1000, lambda _: None)
        eventually(lambda: len([one for one in fetched._found if one.error() is None]) == 200, "events")
        early = first.poll(100)
        first.rewind(early)
        found: dict[int, list[int]] = {0: [], 1: []}

        def again() -> bool:
            for one in first.poll(1000):
                if one.error() is None:
                    found[partition_of(one)[1]].append(offset_of(one))
            return sum(map(len, found.values())) >= 200

        eventually(again, "the events again")
        assert all(offsets == list(range(len(offsets))) for offsets in found.values())


def test_a_process_that_may_begin_no_thread_works_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    fetched = Prefetch(lambda _most, _seconds: [])
    monkeypatch.setattr(threading.Thread, "start", refused)
    fetched.begin(10, lambda _: None)
    fetched.wait_to_move()
    assert fetched.take() == []


def _mine(member: GroupMember, line: Line) -> set[int]:
    return {partition for topic, partition in member._assignment() if topic == line.topic}


@contextmanager
def member(line: Line) -> Iterator[GroupMember]:
    """Of the flow's group; it leaves at the end."""
    found = GroupMember(line.flow, line.settings, Health(), Stop())
    found.join(lambda: None)
    try:
        yield found
    finally:
        found.leave()


def test_what_stopped_the_fetching_is_raised_once_and_what_came_before_is_kept() -> None:
    parts: list[Sequence[Message]] = [[Message(topic="t", partition=0, offset=1)]]
    is_at_fault = threading.Event()

    def consume(_most: int, _seconds: float) -> list[Message]:
        if parts:
            return list(parts.pop())
        is_at_fault.set()
        raise LostPosition("gone")

    fetched = Prefetch(consume)
    fetched.begin(10, lambda _: None)
    assert is_at_fault.wait(10)
    with pytest.raises(LostPosition):
        fetched.take(10)
    assert [message.offset() for message in fetched.take(10)] == [1]


def test_no_more_is_held_than_eight_megabytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefetch, "_MOST_BYTES", 50)
    fetched = Prefetch(lambda _most, _seconds: [Message(topic="t", partition=0, offset=1, value=b"x" * 20)])
    fetched.begin(10_000, lambda _: None)
    thread = fetched._thread
    assert thread is not None
    thread.join(10)
    assert not thread.is_alive()
    assert len(fetched.take()) == 3


def _state(line: Line) -> ConsumerGroupState:
    client, group = admin(line.settings), line.names.group(FLOW)  # its answer would never come if it went before
    found: ConsumerGroupState = client.describe_consumer_groups([group])[group].result(10).state
    return found
