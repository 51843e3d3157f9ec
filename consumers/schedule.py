"""When a flow delivers: at its times, not in quiet hours or while a person has paused it, and at once when asked to."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sorbus.bus.controls import ITSELF, UNTOLD, ControlReader, FlowControl, FlowPause
from sorbus.connector import BoundFlow
from sorbus.consumers.group_member import GroupMember, Stopped
from sorbus.consumers.overdue import first_unread
from sorbus.errors import MapError, TransientError
from sorbus.settings import Settings
from sorbus.telemetry.health import Health

_STILL_COUNTS = 600.0
"""Seconds: a request to deliver at once that was made so long before the process started, or so much ahead of that."""
_STRAGGLERS, _LATE = timedelta(seconds=90), timedelta(minutes=5)
"""After a run: Kafka shows what was written before it, in a transaction that was still open, a minute later at most.
Then again and again: a producer that was cut off from Kafka, or has another clock, writes later still.
"""
_log = logging.getLogger(__name__)


class DeliverySchedule:
    """One flow's times, and what people told it.

    A run that was missed is caught up once: at once, or at the end of quiet hours. What a flow hasn't read is overdue
    if it was published before the last time at which the flow was to run.
    """

    def __init__(
        self,
        flow: BoundFlow,
        member: GroupMember,
        controls: ControlReader,
        health: Health,
        settings: Settings,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        if flow.times is None:
            raise MapError([flow.finding("bad-timing", "its timing can't be read", "see `sorbus map check`")])
        self._flow, self._times, self._settings = flow.flow.id, flow.times, settings
        self._member, self._controls, self._health = member, controls, health
        self._clock = clock or (lambda: datetime.now(UTC))
        self._due: datetime | None = None
        self._told: FlowControl | None = None
        self._began = time.time()
        self._heard: float | None = None
        """The request to deliver at once that was heard last; None before the first look."""
        self._look_again: datetime | None = None
        """When to look for what a run was too early for."""
        self._is_asked = False
        """Whether a person's request to deliver now is being met, quiet hours or not."""
        self._asked_at = 0.0
        """When it was heard (monotonic)."""
        self._is_quiet = False

    @property
    def is_time(self) -> bool:
        """Whether it may deliver now."""
        if not self.is_told or self._is_paused:
            return False
        if self._times.is_always or self._is_asked:
            return True
        now = self._clock()
        return (self._due is None or now >= self._due) and self._times.quiet_until(now) is None

    @property
    def _is_paused(self) -> bool:
        return self._told is not None and self._told.pause is not None

    @property
    def is_told(self) -> bool:
        """Whether it is known what people told it."""
        return self._told is not None

    def is_held(self) -> bool:
        """Whether nothing may be tried again, since the flow is paused or it is quiet. TransientError."""
        if self.is_paused():
            return True
        return not (self._times.is_always or self._is_asked) and self._times.quiet_until(self._clock()) is not None

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
        if pause is not None:  # it ends what was asked for before
            self._is_asked, self._heard = False, self._told.sync_at
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
        if self._times.is_always:
            return True
        now = self._clock()
        if not self._times.timing.is_real_time:
            self._find_due(now)
        self._hear_request(now)
        begins = self._begins(now)
        if begins is not None:
            self._hold(min(1.0, (begins - now).total_seconds()))
        elif not self._times.timing.is_real_time or self._is_asked:
            self._member.resume()
            if self._member.take_drained():
                self._due, self._is_asked = self._times.timing.next_after(now), False
                self._look_again = now + _STRAGGLERS
                _log.info("flow %s: all that was published is delivered; it %s", self._flow, self._times.words(now))
        return True

    def pause(self, reason: str) -> None:
        """Pauses the flow until a person resumes it, for what its target said. TransientError."""
        if (self._told or UNTOLD).pause is None:
            self._controls.tell_pause(self._flow, FlowPause(ITSELF, reason, time.time()))

    def close(self) -> None:
        """Stops reading what people say."""
        self._controls.close()

    def _begins(self, now: datetime) -> datetime | None:
        """When it may deliver, as far as is known; None if it may now."""
        if self._is_asked:
            return None
        quiet = self._times.quiet_until(now)
        if (quiet is not None) != self._is_quiet:
            self._is_quiet = quiet is not None
            _log.info("flow %s: %s", self._flow, self._times.words(now) if quiet else "quiet hours are over")
            if quiet is None:
                self._member.resume()
        if quiet is not None:
            return quiet.moment
        return self._due if self._due is not None and now < self._due else None

    def _find_due(self, now: datetime) -> None:
        """The next time to run: the last one, if what came with partitions has waited since before it."""
        timing = self._times.timing
        if not self._member.reached():  # others run it meanwhile: what comes from them is looked at
            self._due = None
        self._due = timing.next_after(now) if self._due is None else timing.still_due(self._due, now)
        begun = self._member.begun
        is_waiting = self._due is not None and now < self._due
        if not begun and is_waiting and self._look_again is not None and now >= self._look_again:
            begun = self._member.committed()
        if not begun:
            return
        last = timing.last_until(now)
        since = first_unread(self._settings, begun) if last is not None else None
        if last is not None and since is not None and since < last.timestamp():
            _log.info("flow %s: the run of %s was missed, and is caught up", self._flow, last.isoformat())
            self._due = last
        self._member.looked_at(begun)
        self._look_again = now + _LATE

    def _hear_request(self, now: datetime) -> None:
        if self._told is None:
            return
        before, self._heard = self._heard, self._told.sync_at
        if self._is_asked and not self._member.reached() and time.monotonic() - self._asked_at > _STILL_COUNTS:
            self._is_asked = False  # another member has met it
        # A new request is known by its being another one: clocks of those who ask differ.
        is_recent = abs(self._heard - self._began) < _STILL_COUNTS  # not in years either: a clock was wrong then
        if self._heard and (is_recent if before is None else self._heard != before):
            self._due, self._is_asked, self._asked_at = now, True, time.monotonic()
            self._member.forget_drained()

    def _hold(self, seconds: float) -> None:
        try:
            self._member.hold(seconds)
        except Stopped:
            return
