"""Exponential backoff with jitter, for loops that retry indefinitely. Code with limited attempts uses stamina.

The jitter removes up to half of a pause, so that processes that failed together don't retry together ("equal
jitter": https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable

_MOST_DOUBLINGS = 60


class Backoff:
    """The pauses after failures in a row, in seconds: `first`, then twice as long each time, up to `longest`."""

    def __init__(
        self, first: float, longest: float, *, limit: float = math.inf, jitter: Callable[[], float] = random.random
    ) -> None:
        """`limit`: also of a pause that the other side asks for. `jitter` gives numbers from 0 to 1."""
        self._first, self._longest, self._limit, self._jitter = first, longest, limit, jitter
        self.failures = 0
        """Failures since the last `reset`."""

    def next(self, retry_after: float | None = None) -> float:
        """Counts a failure; the pause after it, which is `retry_after` where the other side named one."""
        pause = min(self._longest, self._first * 2.0 ** min(self.failures, _MOST_DOUBLINGS))
        self.failures += 1
        return min(retry_after or pause * (1 + self._jitter()) / 2, self._limit)

    def reset(self) -> None:
        """The last attempt succeeded."""
        self.failures = 0
