"""How many events a target is given at a time: as many as it takes in seconds; after longer, we'd look stuck."""

from __future__ import annotations

from collections.abc import Sequence

from sorbus.connector import Delivery

FIRST = 500
"""Events of the first batch, and of the least that is looked for among those that wait."""
_QUICK, _SLOW = 2.0, 10.0


class BatchSize:
    """One flow's. `limit` is the most there may ever be, `current` what the target has shown that it bears."""

    def __init__(self, limit: int) -> None:
        self.limit, self.current = limit, min(limit, FIRST)
        self._part = 0

    def bound(self, limit: int) -> None:
        """The connector takes no more than this."""
        self.limit = min(self.limit, limit)
        self.current = min(self.current, self.limit)

    def part(self, deliveries: Sequence[Delivery]) -> Sequence[Delivery]:
        """The first of them, as many as are to be tried at once: all, unless that was too many."""
        return deliveries[: self._part] if self._part else deliveries

    def too_large(self, count: int) -> None:
        """So many at a time ran into a time limit of the target."""
        self._part = self.current = max(1, count // 2)

    def applied(self, count: int, seconds: float) -> None:
        """So many were applied in so many seconds."""
        if seconds > _SLOW:
            self.current = max(1, count // 2)
        elif seconds < _QUICK and count > self.current // 2:
            self.current = min(self.limit, 2 * self.current)
        self._part = 0 if self._part > FIRST else 2 * self._part
