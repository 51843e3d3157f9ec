"""A field that two systems change in turn, without an end: what Sorbus writes into one makes the other change it.

A target's trigger that writes back, or two applications that each reformat a value their own way, do so many times a
second. Each turn looks like a person's change; only that it follows each delivery tells it apart.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable

from sorbus.two_way.merge import Ruling, Verdict
from sorbus.two_way.merged_record import MergedRecord

TURNS, WITHIN = 25, 60.0
_REMEMBERED = 10_000
_Turns = dict[tuple[bytes, str], deque[float]]
Shown = dict[str, tuple[str, set[str]]]


class LoopBreaker:
    """Counts, for each field of a record, changes that follow a delivery. Not kept over restarts."""

    def __init__(self, system_of_record: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._first, self._clock = system_of_record, clock
        self._turns: _Turns = {}
        self._open: dict[tuple[bytes, str], tuple[str, str]] = {}

    @property
    def stopped(self) -> tuple[bytes, str, str, str] | None:
        """A record and its field that were stopped, and the two systems; None if there is none."""
        for (id, name), (one, other) in self._open.items():
            return id, name, one, other
        return None

    def shown(self, record: MergedRecord) -> Shown:
        """Each field whose value another system than its origin has shown since -> its origin, and those systems."""
        found = {}
        for name, origin in record.origins.items():
            systems = {system for system, view in record.views.items() if view.knows >= origin.version}
            if others := systems - {origin.system}:
                found[name] = origin.system, others
        return found

    def turns(self, record: MergedRecord, ruling: Ruling, shown: Shown) -> str | None:
        """The other system that this change is made in turn with, if it is one too many. `shown`: before it."""
        other = _answered(ruling, shown)
        if ruling.verdict is Verdict.OVERRULED:
            origin = record.origins.get(ruling.field)
            other = origin.system if origin is not None else self._first
        elif ruling.verdict is not Verdict.TAKEN:
            return None
        if other is None or other == ruling.system:
            return None
        key, now = (record.id, ruling.field), self._clock()
        if len(self._turns) > _REMEMBERED:
            self._turns = {each: times for each, times in self._turns.items() if now - times[-1] < WITHIN}
        times = self._turns.setdefault(key, deque(maxlen=TURNS))
        times.append(now)
        if len(times) < TURNS or now - times[0] > WITHIN:
            return None
        del self._turns[key]
        self._open[key] = (ruling.system, other)
        return other

    def decided(self, fields: Iterable[tuple[bytes, str]]) -> None:
        """A person has decided about these fields of records."""
        for key in fields:
            self._open.pop(key, None)


def _answered(ruling: Ruling, shown: Shown) -> str | None:
    """The other system: whose value was delivered to this one before it changed it, or to which this one's was."""
    if ruling.field not in shown:
        return None
    origin, others = shown[ruling.field]
    if ruling.system in others:
        return origin
    return min(others) if ruling.system == origin else None
