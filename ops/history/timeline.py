"""A flow's last day as bars: what landed, and what failed, by quarters of an hour."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import NamedTuple

from sorbus.errors import SorbusError
from sorbus.history.read import read_buckets
from sorbus.state.database import State

WIDTH = 900.0
BARS = 96


class TimelineBar(NamedTuple):
    """A quarter of an hour, beginning at `at`; heights in percent of the highest bar."""

    at: str
    changed: int
    failed: int
    changed_height: float
    failed_height: float


class Timeline(NamedTuple):
    """The bars of a day, oldest first, and their sums. `problem`: why there are none."""

    bars: tuple[TimelineBar, ...] = ()
    changed: int = 0
    failed: int = 0
    highest: int = 0
    problem: str = ""


def read_timeline(state: State, flow: str, now: float | None = None) -> Timeline:
    """Empty where nothing is recorded, or the database is away. Raises nothing."""
    end = (int((time.time() if now is None else now) // WIDTH) + 1) * WIDTH
    first = end - BARS * WIDTH
    try:
        found = read_buckets(state, "delivery", flow, first, WIDTH)
    except SorbusError as error:
        return Timeline(problem=str(error))
    changed: dict[float, int] = defaultdict(int)
    failed: dict[float, int] = defaultdict(int)
    for one in found:
        changed[one.began] += int(one.changed)
        failed[one.began] += int(one.failed)
    highest = max((changed[at] + failed[at] for at in {*changed, *failed}), default=0)
    if not highest:
        return Timeline()
    bars = tuple(
        TimelineBar(
            time.strftime("%H:%M", time.localtime(at)),
            changed[at],
            failed[at],
            100 * changed[at] / highest,
            100 * failed[at] / highest,
        )
        for at in (first + place * WIDTH for place in range(BARS))
    )
    return Timeline(bars, sum(changed.values()), sum(failed.values()), highest)
