"""One thread measures for everybody, and goes on when something can't be read."""

from __future__ import annotations

import asyncio
import zlib

from sorbus.errors import TransientError
from sorbus.ops.console.live import REMEMBERED, Live
from sorbus.ops.watch.measure import FlowState, Measurement
from tests.ops.console.visitor import eventually

FLOW = FlowState("a", "order", "books", "running", 1, 10, 3, 1.0, None, 0, None, 0.0)


class Looks:
    """Counts how often somebody looks; fails while `trouble` is set."""

    def __init__(self) -> None:
        self.count, self.trouble = 0, ""

    def __call__(self) -> Measurement:
        self.count += 1
        if self.trouble:
            raise TransientError(self.trouble)
        return Measurement(float(self.count), (FLOW,), (), {}, {})


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
        look.trouble = ""
        eventually(lambda: live.measured is not None and not live.troubles, "the end of the trouble was not told")
        assert len(done) > 1


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
