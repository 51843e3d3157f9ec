"""When a flow delivers: at its times, not while a person has paused it, and at once when a person asks for it."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from datetime import UTC, datetime

from sorbus.bus.controls import ITSELF, UNTOLD, ControlReader, FlowControl, FlowPause
from sorbus.connector import BoundFlow
from sorbus.consumers.group_member import GroupMember, Stopped
from sorbus.errors import TransientError
from sorbus.mapfile.timing import Timing, parse_timing
from sorbus.telemetry.health import Health

_STILL_COUNTS = 600.0
"""Seconds: a request to deliver at once that was made so long before the process started."""
_log = logging.getLogger(__name__)


class DeliverySchedule:
    """One flow's timing, and what people told it."""

    def __init__(self, flow: BoundFlow, member: GroupMember, controls: ControlReader, health: Health) -> None:
        self._flow = flow.flow.id
        self._timing: Timing = parse_timing(flow.flow.timing)
        self._member, self._controls, self._health = member, controls, health
        self._due: datetime | None = None
        self._told: FlowControl | None = None
        self._synced_at = time.time() - _STILL_COUNTS

    @property
    def is_time(self) -> bool:
        """Whether it may deliver now."""
        return self.is_told and not self._is_paused and (self._due is None or datetime.now(UTC) >= self._due)

    @property
    def _is_paused(self) -> bool:
        return self._told is not None and self._told.pause is not None

    @property
    def is_told(self) -> bool:
        """Whether it is known what people told it."""
        return self._told is not None

    def is_paused(self) -> bool:
        """Whether a person has paused it, as it was told within the last second; says so in the process's health.

        Before it has any partitions nobody is asked, and it isn't. TransientError while it isn't known; once known, it
        holds while Kafka is away.
        """
        if self._told is None and not self._member.has_partitions:
            return False
        before = (self._told or UNTOLD).pause
        try:
            self._told = self._controls.of(self._flow)
        except TransientError as error:
            if self._told is None:
                raise
            _log.debug("what %s was told can't be read: %s", self._flow, error)
        pause = self._told.pause
        if pause != before:
            _log.info("flow %s: %s", self._flow, pause.words if pause else "resumed")
            self._health.note("paused", pause.words if pause else None)
        return pause is not None

    def wait(self) -> bool:
        """Called before each poll: waits up to a second with the partitions paused, until the next time has come.

        False while it is paused: nothing may be read. TransientError.
        """
        was_paused = self._is_paused
        if self.is_paused():
            self._hold(1.0)
            return False
        if was_paused:
            self._member.resume()
        if self._timing.is_real_time:
            return True
        now = datetime.now(UTC)
        self._due = self._timing.next_after(now) if self._due is None else self._timing.still_due(self._due, now)
        asked = (self._told or UNTOLD).sync_at
        if asked > self._synced_at:
            self._synced_at, self._due = asked, now
        if self._due is not None and now < self._due:
            self._hold(min(1.0, (self._due - now).total_seconds()))
            return True
        self._member.resume()
        if self._member.take_drained():
            self._due = self._timing.next_after(now)
        return True

    def pause(self, reason: str) -> None:
        """Pauses the flow until a person resumes it, for what its target said. TransientError."""
        before = self._told or UNTOLD
        if before.pause is None:
            pause = FlowPause(ITSELF, reason, time.time())
            self._controls.tell(self._flow, replace(before, pause=pause))

    def close(self) -> None:
        """Stops reading what people say."""
        self._controls.close()

    def _hold(self, seconds: float) -> None:
        self._member.commit(wait=False)
        try:
            self._member.hold(seconds)
        except Stopped:
            return
