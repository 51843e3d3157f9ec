"""Retrying with a flow's partitions paused: order holds, the group sees its member alive, nothing is skipped."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from sorbus.backoff import Backoff
from sorbus.connector import BoundFlow
from sorbus.consumers.escalation import EscalationTimer
from sorbus.consumers.group_member import GroupMember
from sorbus.errors import PauseFlow, TransientError, Undecided, Unfinished
from sorbus.telemetry.health import Health
from sorbus.telemetry.metrics import ConsumerMetrics

_SHORTEST_PAUSE = 0.02
_log = logging.getLogger(__name__)
T = TypeVar("T")


class PausedRetry:
    """One flow's retries, and since when they last: a person is named when that is too long."""

    def __init__(
        self,
        member: GroupMember,
        flow: BoundFlow,
        health: Health,
        metrics: ConsumerMetrics,
        is_held: Callable[[], bool] = lambda: False,
        pause: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`is_held`: whether the flow is paused, or it is quiet, and nothing is tried again for now. `pause` pauses it,
        for the reason given. TransientError.
        """
        self._is_held, self._pause = is_held, pause
        self._member, self._flow, self._health, self._metrics = member, flow.flow.id, health, metrics
        self._escalation = EscalationTimer(flow)
        self._failing_since: float | None = None

    def run(self, attempt: Callable[[], T]) -> T:
        """Calls `attempt` until it succeeds, with backoff. Stopped when asked to stop; Undecided after one pause.

        What is merely unfinished is called again when it says so: the flow is at work, not failing.
        """
        backoff, is_held = Backoff(0.5, 15.0), False
        while True:
            try:
                result = attempt()
            except Unfinished as error:
                is_held = True
                if backoff.failures:
                    self.recovered()
                backoff.reset()
                _log.debug("%s; continuing in %.1f s", error, error.retry_after)
                self._member.hold(max(error.retry_after, _SHORTEST_PAUSE))
                continue
            except TransientError as error:
                is_held = True
                if isinstance(error, PauseFlow):
                    self._pause_flow(error)
                self._failed(error, backoff.next(error.retry_after))
                self._wait_while_held()
                if isinstance(error, Undecided):
                    raise
                continue
            if backoff.failures:
                self.recovered()
            if is_held:
                self._member.resume()
            return result

    def recovered(self) -> None:
        """What failed succeeds again, if anything did."""
        if self._failing_since is None:
            return
        self._failing_since = None
        self._metrics.paused(False)
        self._health.ready()
        _log.info("flow %s resumed", self._flow)

    def _pause_flow(self, error: PauseFlow) -> None:
        try:
            self._pause(str(error))
        except TransientError as fault:  # it is tried again, and pauses then
            _log.warning("flow %s can't be paused: %s", self._flow, fault)

    def _wait_while_held(self) -> None:
        """A flow that a person has paused, or in quiet hours, isn't in trouble, whatever it waited for before."""
        try:
            while self._is_held():
                self.recovered()
                self._member.hold(1.0)
        except TransientError as error:
            _log.debug("whether flow %s is paused isn't known: %s", self._flow, error)

    def _failed(self, error: TransientError, pause: float) -> None:
        now = time.monotonic()
        self._failing_since = now if self._failing_since is None else self._failing_since
        self._metrics.retried()
        self._metrics.paused(True)
        escalated = self._escalation.message(now - self._failing_since)
        self._health.ready(f"{error}{escalated}", dependency=error.dependency)
        level = logging.ERROR if escalated else logging.WARNING
        _log.log(level, "%s%s; trying again in %.1f s", error, escalated, pause)
        self._member.hold(pause)
