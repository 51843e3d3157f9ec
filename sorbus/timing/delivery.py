"""When a flow delivers: at its times, and never in its target's quiet hours."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from sorbus.timing.quiet import QuietHours, Until, spoken
from sorbus.timing.schedule import Timing


@dataclass(frozen=True, slots=True)
class DeliveryTimes:
    """A flow's timing and its quiet hours. What comes due in quiet hours is delivered once at their end."""

    timing: Timing = field(default_factory=lambda: Timing("real-time"))
    quiet: QuietHours = field(default_factory=QuietHours)

    @property
    def is_always(self) -> bool:
        """Whether it delivers at any time."""
        return self.timing.is_real_time and not self.quiet.windows

    def due_of(self, written: datetime) -> datetime:
        """When a change that was published at `written` is to be delivered, in UTC."""
        due = self.timing.next_after(written) or written
        quiet = self.quiet.until(due)
        return quiet.moment if quiet else due

    def missed(self, now: datetime) -> datetime | None:
        """The last time to run until `now`: what was published before it is overdue. None for real-time."""
        return self.timing.last_until(now)

    def next_run(self, now: datetime) -> datetime | None:
        """When it delivers next; None if it delivers now."""
        if self.timing.is_real_time:
            quiet = self.quiet.until(now)
            return quiet.moment if quiet else None
        return self.due_of(now)

    def quiet_until(self, now: datetime) -> Until | None:
        """Until when it is quiet; None if it isn't."""
        return self.quiet.until(now)

    def words(self, now: datetime) -> str:
        """`quiet until 06:00 Europe/London`, `runs next at 18:00 UTC`; "" for one that delivers at any time."""
        if (quiet := self.quiet.until(now)) is not None:
            return f"quiet until {spoken(quiet.moment, quiet.zone, now)}"
        if self.timing.is_real_time:
            return ""
        due = self.due_of(now)
        end = self.quiet.until(self.timing.next_after(now) or now)
        return f"runs next at {spoken(due, end.zone if end else self.timing.zone, now)}"
