"""When flows with a timing deliver, where others have run them before and where events come late."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from sorbus.bus.kafka import Partition, admin
from sorbus.consumers import schedule
from sorbus.consumers.loop import ConsumeLoop
from sorbus.consumers.postgres.consumer import PostgresConsumer
from sorbus.ops.monitoring import offsets
from sorbus.telemetry.health import Health
from sorbus.telemetry.metrics import ConsumerMetrics
from sorbus.telemetry.stop import Stop
from tests.consumers.line import FLOW, Line, eventually, named
from tests.consumers.plugin import MakeLine, make_line

__all__ = ["make_line"]
NIGHTLY = "daily at 02:00"
BEFORE = datetime(2026, 11, 10, 1, tzinfo=UTC)
DUE = datetime(2026, 11, 10, 2, tzinfo=UTC)


class Clock:
    """What time it is for the flow's members."""

    def __init__(self) -> None:
        self.now = BEFORE


class Member:
    """A member of the flow's group by the test's clock; how many rounds its loop has made."""

    def __init__(self, line: Line, clock: Clock, stop: Stop) -> None:
        self.loop = ConsumeLoop(
            lambda: PostgresConsumer(line.flow),
            line.flow,
            line.settings,
            health=Health(),
            metrics=ConsumerMetrics(FLOW, "gadget", "books"),
            stop=stop,
            clock=lambda: clock.now,
        )
        self.rounds, self._clock, self._stop = 0, clock, stop
        self._wait = self.loop._schedule.wait
        self.loop._schedule.wait = self._counted  # type: ignore[method-assign]
        self._thread = threading.Thread(target=self.loop.run, daemon=True)
        self._thread.start()

    @property
    def partitions(self) -> set[Partition]:
        return set(self.loop._schedule._member.reached())

    @property
    def waits(self) -> bool:
        """Whether its next run is still to come."""
        due = self.loop._schedule._due
        return due is not None and due > self._clock.now

    def end(self) -> None:
        self._stop.set()
        self._thread.join(10)
        assert not self._thread.is_alive()

    def _counted(self) -> bool:
        self.rounds += 1
        return self._wait()


@contextmanager
def members(line: Line, clock: Clock, count: int) -> Iterator[list[Member]]:
    """So many, all of them in the group, and each partition with one of them."""
    group = line.names.group(FLOW)
    with ExitStack() as ended:
        found = [Member(line, clock, Stop()) for _ in range(count)]
        for one in found:
            ended.callback(one.end)
        whole = {group: offsets.ConsumerGroup("stable", count)}
        eventually(lambda: offsets.groups(admin(line.settings), [group]) == whole, "all members", 60)
        eventually(lambda: sum(len(one.partitions) for one in found) == 3, "all partitions", 60)
        yield found


def settle(member: Member) -> None:
    """Waits for whole rounds by the clock's time."""
    end = member.rounds + 3
    eventually(lambda: member.rounds >= end, "rounds of the loop")


def test_a_member_that_takes_over_between_two_runs_waits_for_the_next(make_line: MakeLine) -> None:
    """It had nothing to read at the last run, and so had never ended that."""
    line, clock = make_line(timing=NIGHTLY), Clock()
    with members(line, clock, 4) as found:
        clock.now = DUE + timedelta(seconds=30)
        eventually(lambda: all(one.waits for one in found if one.partitions), "the end of the run")
        (standby,) = (one for one in found if not one.partitions)
        clock.now = DUE + timedelta(hours=12)
        line.publish([(f"g{n}", 1, named(f"G{n}")) for n in range(20)], at=clock.now.timestamp())
        clock.now += timedelta(hours=1)
        next(one for one in found if any(topic == line.topic for topic, _ in one.partitions)).end()
        eventually(lambda: standby.partitions, "the other member's partitions", 60)
        settle(standby)
        eventually(lambda: standby.waits, "its next run")
        assert line.rows() == {}

        clock.now = DUE + timedelta(days=1)
        line.until({f"g{n}": f"G{n}" for n in range(20)})


def test_a_request_that_another_member_has_met_is_not_met_once_more(
    make_line: MakeLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By one that has lost its partitions since it was told something."""
    line, clock = make_line(timing=NIGHTLY), Clock()
    elapsed = 0.0
    monkeypatch.setattr(schedule, "time", SimpleNamespace(time=time.time, monotonic=lambda: elapsed))
    with members(line, clock, 1) as (member,):
        mine = member.loop._schedule
        assert not mine._is_asked
        settle(member)
        monkeypatch.setattr(mine._member, "reached", dict)
        monkeypatch.setattr(mine._member, "take_drained", lambda: False)
        line.sorbus("sync", FLOW)
        eventually(lambda: mine._is_asked, "the request")
        elapsed = 599.0
        settle(member)
        assert mine._is_asked, "whoever was to meet it may have died meanwhile"
        elapsed = 601.0
        settle(member)
        assert not mine._is_asked


def test_what_was_written_before_a_run_and_came_after_it_is_delivered_soon(make_line: MakeLine) -> None:
    """As of a producer that was cut off from Kafka at that time."""
    line, clock = make_line(timing=NIGHTLY), Clock()
    with members(line, clock, 1) as (member,):
        clock.now = DUE + timedelta(seconds=1)
        eventually(lambda: member.waits, "the end of the run")
        clock.now += timedelta(seconds=95)
        settle(member)
        line.publish([("g1", 1, named("late"))], at=(DUE - timedelta(seconds=2)).timestamp())
        clock.now += timedelta(minutes=6)
        line.until({"g1": "late"})
        eventually(lambda: member.waits, "the next run")

        line.publish([("g2", 1, named("new"))], at=clock.now.timestamp())
        clock.now += timedelta(minutes=6)
        settle(member)
        assert line.rows() == {"g1": "late"}
