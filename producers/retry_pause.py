"""How a producer's loop waits: it says why, shows that it is alive, and stops waiting when it is asked to stop."""

from __future__ import annotations

import logging
import time
from datetime import datetime

from sorbus.backoff import Backoff
from sorbus.errors import PartialOutage, TransientError
from sorbus.telemetry.health import Health
from sorbus.telemetry.metrics import ProducerMetrics
from sorbus.telemetry.stop import Stop

LONGEST_PAUSE = 60.0
"""Seconds, whatever the other side asks for."""
_BEAT_EVERY = 5.0
_log = logging.getLogger(__name__)


def retry_backoff() -> Backoff:
    """The pauses of a source, or of Kafka, that can't be reached."""
    return Backoff(1.0, 30.0, limit=LONGEST_PAUSE)


class RetryPause:
    """One producer's waiting."""

    def __init__(self, health: Health, metrics: ProducerMetrics, stop: Stop) -> None:
        self._health, self._metrics, self._stop = health, metrics, stop

    def after(self, error: TransientError, backoff: Backoff, since: datetime | None = None) -> None:
        """Waits before the next attempt. `since`: when attempts began to fail; now, where nothing is said."""
        delay = backoff.next(error.retry_after)
        self._failed(error, since)
        _log.warning("%s; trying again in %.1f s", error, delay)
        self.wait(delay)

    def partial(self, error: PartialOutage) -> None:
        """A part of the source waits by itself: nothing else does."""
        self._failed(error)
        _log.warning("%s; retrying in %.1f s, the rest continues", error, error.retry_after or 0.0)

    def wait(self, seconds: float) -> None:
        """Until `seconds` have passed, or until asked to stop."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and not self._stop.wait(min(left, _BEAT_EVERY)):
            self._health.beat()

    def _failed(self, error: TransientError, since: datetime | None = None) -> None:
        self._metrics.retried()
        self._health.ready(str(error), dependency=error.dependency, since=since)
