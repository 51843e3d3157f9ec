"""A field that two systems change in turn, without an end: what Sorbus writes into one makes the other change it.

A target's trigger that writes back, or two applications that each reformat a value their own way, do so many times a
second. Each turn looks like a person's change; only that it follows each delivery tells it apart.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable

from sorbus.two_way.merge import MergedRecord, Ruling, Verdict

TURNS, WITHIN = 25, 60.0
_REMEMBERED = 10_000
_Turns = dict[tuple[bytes, str], deque[float]]


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

    def shown(self, record: MergedRecord) -> dict[str, str]:
        """Each field whose value another system than its origin has shown since -> that system."""
        found = {}
        for name, origin in record.origins.items():
            for system, view in record.views.items():
                if system != origin.system and view.knows >= origin.version:
                    found[name] = system
        return found

    def turns(self, record: MergedRecord, ruling: Ruling, shown: dict[str, str]) -> bool:
        """Whether this change is one too many. `shown`: before it."""
        other = shown.get(ruling.field)
        if ruling.verdict is Verdict.OVERRULED:
            origin = record.origins.get(ruling.field)
            other = origin.system if origin is not None else self._first
        elif ruling.verdict is not Verdict.TAKEN:
            return False
        if other is None or other == ruling.system:
            return False
        key, now = (record.id, ruling.field), self._clock()
        if len(self._turns) > _REMEMBERED:
            self._turns = {each: times for each, times in self._turns.items() if now - times[-1] < WITHIN}
        times = self._turns.setdefault(key, deque(maxlen=TURNS))
        times.append(now)
        if len(times) < TURNS or now - times[0] > WITHIN:
            return False
        del self._turns[key]
        self._open[key] = (ruling.system, other)
        return True

    def decided(self, fields: Iterable[tuple[bytes, str]]) -> None:
        """A person has decided about these fields of records."""
        for key in fields:
            self._open.pop(key, None)
