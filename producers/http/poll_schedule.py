"""When to poll for changes, and when to read the whole list, by the map's schedules and by what asks for it sooner."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal

from sorbus.producers.http.options import HttpSource

Job = Literal["changes", "everything"]


class PollSchedule:
    """One data type's, in seconds of a clock that doesn't jump; ours (`clock`) is asked only for what is written by it.

    What is `due` starts at once.
    """

    def __init__(self, options: HttpSource, clock: Callable[[], float], monotonic: Callable[[], float]) -> None:
        self._options, self._clock, self.now = options, clock, monotonic
        self._due: dict[Job, float] = {"changes": 0.0, "everything": 0.0}

    def due(self, job: Job) -> float:
        """When it is to begin (monotonic)."""
        return self._due[job]

    def at_once(self, job: Job) -> None:
        """It is to begin as soon as it can."""
        self._due[job] = 0.0

    def polled(self, job: Job) -> None:
        """It has ended, or failed: the next time."""
        self._due[job] = self.next_poll()

    def compared(self, at: float) -> None:
        """The whole list was read: the next time is counted from `at` (our clock, seconds since 1970)."""
        self._due["everything"] = self.next_compare(at)

    def listed(self, began: float) -> None:
        """The whole list was read just now, from `began` (monotonic) on."""
        self.compared(self._clock() - (self.now() - began))

    def next_poll(self) -> float:
        """By `every` (monotonic)."""
        now = datetime.fromtimestamp(self._clock(), UTC)
        moment = self._options.polls.next_after(now)
        assert moment is not None
        return self.now() + (moment - now).total_seconds()

    def next_compare(self, compared_at: float) -> float:
        """By `compare` (monotonic). `compared_at`: by our clock; if that was ahead then, no more than one step on."""
        compares = self._options.compares
        if compares is None:
            return float("inf")
        now = self._clock()
        before = datetime.fromtimestamp(min(compared_at, now), UTC)
        if compares.every is not None:  # not at the same hour for all
            return self.now() + before.timestamp() + compares.every.total_seconds() - now
        moment = compares.next_after(before)
        assert moment is not None
        return self.now() + moment.timestamp() - now
