"""How many event streams stay open: a few for each session, so that nobody takes all connections."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from sorbus.ops.console.access.user import Visit

PER_SESSION, PER_PERSON = 6, 30
"""Browsers keep six connections to one server; a person has a few browsers."""


class Streams:
    """Counts open streams; used in one event loop."""

    def __init__(self) -> None:
        self._open: Counter[tuple[str, str]] = Counter()

    def has_room(self, visit: Visit) -> bool:
        """Whether one more may be opened."""
        return all(self._open[key] < most for key, most in _limits(visit).items())

    @contextmanager
    def counted(self, visit: Visit) -> Iterator[None]:
        """A stream while its block lasts."""
        keys = list(_limits(visit))
        self._open.update(keys)
        try:
            yield
        finally:
            self._open.subtract(keys)
            for key in keys:
                if self._open[key] <= 0:
                    del self._open[key]


def _limits(visit: Visit) -> dict[tuple[str, str], int]:
    name = visit.person.name if visit.person else ""
    return {("session", visit.secret): PER_SESSION, ("person", name): PER_PERSON}
