"""A circuit breaker per system: while a system is down, one request now and then finds out whether it is back."""

from __future__ import annotations

from sorbus.state import State

FAULTS = 5
"""Faults in a row, of all processes together, that open it."""
WITHIN = 60.0
"""Seconds between two faults after which they are not in a row."""
SHORTEST, LONGEST = 2.0, 300.0
"""Seconds until the first probe, and the longest between two; doubled each time, up to a quarter more by chance."""
LEASE = 60.0
"""Seconds a probe has to come back before another may go."""


class Breaker:
    """Asked before each request, told after each answer. Safe for threads; errors are those of `State.connection`."""

    def __init__(self, state: State, system: str) -> None:
        self._state, self._system = state, system
        self._clean = False

    def allow(self) -> float:
        """0.0: go. Else the seconds until it is worth asking again: the system is down."""
        ((wait, clean),) = self._state.run(b"select wait, clean from breaker_allow(%s, %s)", (self._system, LEASE))
        self._clean = bool(clean)
        assert isinstance(wait, float)
        return wait

    @property
    def is_clean(self) -> bool:
        """Whether, when it was last asked, it was closed and no fault counted."""
        return self._clean

    def succeeded(self) -> None:
        """The system has answered, if only to refuse the record: closes it."""
        if not self._clean:
            self._state.run(b"select breaker_succeeded(%s)", (self._system,))
            self._clean = True

    def failed(self) -> None:
        """A transient fault: network, time-out, 5xx. Not a 429: the system is up, the limiter's business."""
        self._clean = False
        self._state.run(b"select breaker_failed(%s, %s, %s, %s, %s)", (self._system, FAULTS, WITHIN, SHORTEST, LONGEST))
