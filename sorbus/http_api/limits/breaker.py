"""A circuit breaker per system: while a system is down, occasional probes find out whether it is back."""

from __future__ import annotations

from sorbus.state import State

FAULTS = 5
"""Consecutive faults, of all processes together, that open it."""
WITHIN = 60.0
"""Seconds between two faults after which they are not consecutive."""
SHORTEST, LONGEST = 2.0, 300.0
"""Seconds until the first probe, and the maximum between two; doubled each time, plus up to a quarter of jitter."""
LEASE = 60.0
"""Seconds until a probe counts as lost and another may be sent."""


class Breaker:
    """Consulted before each request, updated after each answer. Thread-safe; errors as in `State.connection`."""

    def __init__(self, state: State, system: str) -> None:
        self._state, self._system = state, system
        self._clean = False

    def allow(self) -> float:
        """0.0: go. Otherwise the seconds until the next try: the system is down."""
        ((wait, clean),) = self._state.run(b"select wait, clean from breaker_allow(%s, %s)", (self._system, LEASE))
        self._clean = bool(clean)
        assert isinstance(wait, float)
        return wait

    @property
    def is_clean(self) -> bool:
        """Whether, at the last check, it was closed and had no faults."""
        return self._clean

    def succeeded(self) -> None:
        """The system has answered, even if it rejected the record: closes it."""
        if not self._clean:
            self._state.run(b"select breaker_succeeded(%s)", (self._system,))
            self._clean = True

    def failed(self) -> None:
        """A transient fault: network, timeout, 5xx. Not a 429, which the limiter handles: the system is up."""
        self._clean = False
        self._state.run(b"select breaker_failed(%s, %s, %s, %s, %s)", (self._system, FAULTS, WITHIN, SHORTEST, LONGEST))
