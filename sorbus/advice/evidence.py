"""What was measured of a flow; no I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

HOUR, DAY = 3600.0, 86400.0


@dataclass(frozen=True, slots=True)
class FlowEvidence:
    """A flow's figures since `since` (seconds since 1970).

    `captured_days`, `delivered_days`: days in which its data type's producer ran, and the flow itself. Changes come in
    the former: a flow that was down meanwhile has as many as another of that data type.

    Hours are counted since 1970 (UTC). `changes`: hour -> changes of its data type that its owner's producer captured;
    `landed`: those that its target took. The first day, with its initial snapshot, doesn't count.
    """

    flow: str
    timing: str
    is_real_time: bool
    since: float
    captured_days: float
    delivered_days: float
    changes: dict[int, int]
    landed: int
    letters: int
    """Dead letters that it, or its data type at the producer, had."""
    conflicts: int
    crashes: int
    """Processes of it that died."""
    syncs: int
    """How often people asked for it to deliver at once."""
    unread_days: float | None = None
    """Days for which the target knows that nobody read its rows; None: it can't say, or Sorbus itself reads them."""

    @property
    def days(self) -> float:
        """Days over which it was measured: what doesn't run says nothing."""
        return min(self.captured_days, self.delivered_days)

    @property
    def total(self) -> int:
        return sum(self.changes.values())

    @property
    def failures(self) -> int:
        """What people had to look at."""
        return self.letters + self.conflicts

    @property
    def busy_hours(self) -> int:
        """Hours with at least one change."""
        return sum(count > 0 for count in self.changes.values())

    @property
    def busy_share(self) -> float:
        """The part of all hours that had a change."""
        hours = self.captured_days * DAY / HOUR
        return min(1.0, self.busy_hours / hours) if hours > 0 else 1.0


def covered(spans: Sequence[tuple[float, float]], since: float) -> float:
    """The days that at least one of these spans (seconds since 1970) covers, from `since` on."""
    total, end = 0.0, since
    for begin, stop in sorted(spans):
        total += max(0.0, stop - max(begin, end))
        end = max(end, stop)
    return total / DAY
