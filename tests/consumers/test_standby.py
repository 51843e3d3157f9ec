"""Consumers of a flow beyond its partitions: ready, and there when another ends."""

from __future__ import annotations

from contextlib import ExitStack

from tests.consumers.line import Line, eventually, named


def test_a_consumer_without_partitions_is_ready_and_takes_over(line: Line) -> None:
    line.publish([("g1", 1, named("first"))])
    with ExitStack() as held, line.consuming() as standby:
        others = [held.enter_context(line.consuming()) for _ in range(3)]  # for two partitions, and the requeue topic's
        line.until({"g1": "first"})
        for member in (standby, *others):
            eventually(lambda member=member: member.health.waiting() is None, "each member's readiness")  # type: ignore[misc]
        held.close()
        line.publish([("g1", 2, named("second")), ("g2", 1, named("new"))])
        line.until({"g1": "second", "g2": "new"})
