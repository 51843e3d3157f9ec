"""Records that are said to be gone, and whose addresses still showed them: they are looked at once more."""

from __future__ import annotations

from collections.abc import Collection

_SETTLE = 5.0
"""Seconds that an application has at least until its reads show a delete that it told of."""
_MOST = 1000
"""So many at a time: with more a list decides at once."""


class SecondLooks:
    """One data type's; times are monotonic, in seconds."""

    def __init__(self, settle: float) -> None:
        """`settle`: seconds until the application's reads show what was written."""
        self._settle = max(_SETTLE, settle)
        self._due: dict[str, float] = {}
        self._under_way: set[str] = set()

    @property
    def waiting(self) -> tuple[str, ...]:
        """What is to be looked at, then or now."""
        return tuple(sorted(self._due.keys() | self._under_way))

    @property
    def due_at(self) -> float:
        """When the next one is due."""
        return min(self._due.values(), default=float("inf"))

    def begin(self, now: float) -> list[str]:
        """What is to be looked at now."""
        found = [id for id, at in self._due.items() if at <= now]
        for id in found:
            del self._due[id]
        self._under_way.update(found)
        return found

    def end(self, still_shown: Collection[str], now: float) -> bool:
        """Looks have ended; whether one that was a second look still shows its record, so that a list has to decide."""
        is_unsure = not self._under_way.isdisjoint(still_shown)
        self._due |= {id: now + self._settle for id in still_shown if id not in self._under_way}
        self._under_way.clear()
        if len(self._due) > _MOST:
            self._due.clear()
            return True
        return is_unsure
