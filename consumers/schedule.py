"""When a flow that isn't real-time delivers: at its time it reads all there is, then it waits for the next."""

from __future__ import annotations

from datetime import UTC, datetime

from sorbus.connector import BoundFlow
from sorbus.consumers.group_member import GroupMember, Stopped
from sorbus.mapfile.timing import Timing, parse_timing


class DeliverySchedule:
    """One flow's timing."""

    def __init__(self, flow: BoundFlow, member: GroupMember) -> None:
        self._timing: Timing = parse_timing(flow.flow.timing)
        self._member = member
        self._due: datetime | None = None

    @property
    def is_time(self) -> bool:
        """Whether it may deliver now."""
        return self._due is None or datetime.now(UTC) >= self._due

    def wait(self) -> None:
        """Called before each poll: waits up to a second with the partitions paused, until the next time has come."""
        if self._timing.is_real_time:
            return
        now = datetime.now(UTC)
        self._due = self._timing.next_after(now) if self._due is None else self._timing.still_due(self._due, now)
        if self._due is not None and now < self._due:
            self._member.commit(wait=False)
            try:
                self._member.hold(min(1.0, (self._due - now).total_seconds()))
            except Stopped:
                return
            return
        self._member.resume()
        if self._member.take_drained():
            self._due = self._timing.next_after(now)
