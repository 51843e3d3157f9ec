"""One thread measures for everybody, and goes on when something can't be read."""

from __future__ import annotations

import asyncio
import re
import zlib

from sorbus.errors import AuthError, TransientError, missing, refused_login
from sorbus.ops.console.live import REMEMBERED, Live
from sorbus.ops.monitoring.flow_state import FlowState
from sorbus.ops.monitoring.measure import Measurement
from sorbus.ops.monitoring.problems import Problem
from tests.ops.console.visitor import eventually

FLOW = FlowState("a", "order", "books", "running", 1, 10, 3, 1.0, None, 0, None, 0.0)


class Looks:
    """Counts how often somebody looks; fails while `trouble` is set."""

    def __init__(self, *problems: Problem) -> None:
        self.count, self.trouble, self.problems = 0, "", problems

    def __call__(self) -> Measurement:
        self.count += 1
        if self.trouble:
            raise missing("kafka", TransientError(self.trouble))
        return Measurement(float(self.count), (FLOW,), (), {}, {}, problems=self.problems)


def test_many_readers_cost_one_measurement() -> None:
    look = Looks()

    async def read(live: Live) -> int:
        seen = 0
        async for version in live.changes():
            seen = version
            if version >= 5:
                break
        return seen

    async def read_all(live: Live) -> list[int]:
        return await asyncio.gather(*(read(live) for _ in range(50)))

    with Live(look, every=0.02) as live:
        seen = asyncio.run(asyncio.wait_for(read_all(live), 20))
        assert min(seen) >= 5
        assert look.count <= live.version + 1


def test_what_can_not_be_read_is_told_and_forgotten_when_it_can() -> None:
    look = Looks()
    look.trouble = "Kafka is away"
    done: list[str] = []
    live = Live(look, every=0.01)
    live.each_round("other work", lambda: done.append("once"))
    with live:
        eventually(lambda: live.troubles == {"the flows": "Kafka is away"}, "the trouble was not told")
        assert live.measured is None
        assert re.match(r"Kafka unreachable since \d\d:\d\d ", live.unknown("the flows"))
        began = live.began["the flows"]
        eventually(lambda: look.count > 5, "it looks no more")
        assert live.began["the flows"] == began, "since when is told, not since the last look"
        assert re.search(r"unreachable since 20\d\d-.*, because Kafka is away$", live.told("the flows"))
        look.trouble = ""
        eventually(lambda: live.measured is not None and not live.troubles, "the end of the trouble was not told")
        assert live.unknown("the flows") == ""
        assert len(done) > 1


def test_the_reason_is_not_told_where_what_was_measured_tells_it() -> None:
    """A page says it under "Needs attention" already."""

    def read_letters() -> None:
        raise missing("state", TransientError("no answer from 127.0.0.1"))

    away = Problem("dependency", "state", "unreachable", 1_000_000.0, "no answer from 127.0.0.1")
    for problems, reason in (((away,), ""), ((), ", because no answer from 127.0.0.1")):
        live = Live(Looks(*problems), every=0.01)
        live.each_round("dead letters", read_letters)
        with live:
            eventually(lambda live=live: live.version > 0, "it doesn't look")
            told = live.told("dead letters")
            assert re.fullmatch(
                rf"the state database \(SORBUS_DATABASE\) is unreachable since \S+ \S+ \S+{reason}", told
            )


def test_a_fault_that_nobody_has_foreseen_ends_no_measuring() -> None:
    faults = [
        zlib.error("invalid stored block lengths"),
        NotImplementedError("method 99"),
        MemoryError(),
        KeyError("x"),
    ]

    def fail() -> None:
        if faults:
            raise faults.pop()

    live = Live(Looks(), every=0.01)
    live.each_round("the map", fail)
    with live:
        eventually(lambda: not faults and live.measured is not None and not live.troubles, "the thread has ended")
        assert live.is_alive()


def test_readers_end_when_the_server_does() -> None:
    async def read(live: Live) -> None:
        async for _ in live.changes():
            live.end()

    with Live(Looks(), every=0.01) as live:
        asyncio.run(asyncio.wait_for(read(live), 20))


def test_the_history_of_a_flow_is_bounded() -> None:
    live = Live(Looks(), every=0.0001)
    with live:
        eventually(lambda: live.version > REMEMBERED + 20, "it measures too slowly", within=60)
    assert len(live.history["a"]) == REMEMBERED
    assert live.history["a"][0].at < live.history["a"][-1].at


def test_a_refused_login_is_not_tried_in_every_round() -> None:
    tried: list[str] = []

    def log_in() -> None:
        tried.append("once")
        raise refused_login(AuthError("Kafka refuses the password"))

    live = Live(Looks(), every=0.01)
    live.each_round("dead letters", log_in)
    with live:
        eventually(lambda: live.version > 10, "it goes no further")
        assert live.troubles == {"dead letters": "Kafka refuses the password"}
    assert tried == ["once"]


def test_what_figures_count_can_be_read_before_they_are_shown() -> None:
    look, shown = Looks(), list[float | None]()
    live = Live(look, every=0.001)
    live.after_each("dead letters", lambda: shown.append(live.measured.at if live.measured else None))
    with live:
        eventually(lambda: live.version > 5, "it measures no more")
    assert shown[:4] == [None, 1.0, 2.0, 3.0], "a figure was shown before its letters were read"
