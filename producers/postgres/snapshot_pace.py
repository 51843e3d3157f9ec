"""How much of a producer's time a snapshot beside its stream may take: what the stream leaves, and a little more."""

from __future__ import annotations

import time
from enum import Enum

_QUIET = 1.0
"""Seconds without a change after which the stream counts as quiet."""


class StreamState(Enum):
    """What the stream has for its reader now."""

    IDLE = "idle"
    """Nothing."""
    CAUGHT_UP = "caught up"
    """Nothing more: what came is about to be published."""
    BEHIND = "behind"
    """It may have more."""


_SLICE, _LONG_SLICE = 0.008, 0.025
_PAUSES = {StreamState.IDLE: 5, StreamState.CAUGHT_UP: 5, StreamState.BEHIND: 10}
"""How long the stream has to itself after a slice, in multiples of what the slice took.

A transaction that holds records of a snapshot takes longer to commit: most commits of the stream hold none.
"""


class SnapshotPace:
    """Gives a snapshot slices of time. A change waits for the one under way: a few milliseconds."""

    def __init__(self) -> None:
        self._streamed_at = self._ended_at = 0.0
        self._spent = 0.0

    def streamed(self) -> None:
        """A change has come by the stream."""
        self._streamed_at = time.monotonic()

    def slice(self, stream: StreamState) -> float | None:
        """Seconds that the next slice may take; None: not yet."""
        now = time.monotonic()
        is_quiet = now - self._streamed_at > _QUIET and stream is StreamState.IDLE
        if is_quiet:
            return _LONG_SLICE
        return _SLICE if now - self._ended_at >= self._spent * _PAUSES[stream] else None

    def took(self, began: float) -> None:
        """The slice that began then (monotonic seconds) is over."""
        self._ended_at = time.monotonic()
        self._spent = min(self._ended_at - began, 0.2)
