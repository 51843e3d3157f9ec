"""The loop that every producer shares: batches in, transactions on the bus out, the position with them.

It owns retries, dead letters, metrics and shutdown; a connector only reads. Any fault closes both ends, and the next
session resumes at the last committed position: one way to recover, which a restart takes too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial

from sorbus.bus.kafka import Oversized
from sorbus.bus.publisher import Publisher
from sorbus.bus.reachable import Reachable
from sorbus.bus.requests import RereadRequests
from sorbus.connector import BoundSource, BoundSystem, Producer
from sorbus.errors import TransientError
from sorbus.history.recorder import NO_HISTORY, HistoryRecorder
from sorbus.producers.dead_letters import SourceDeadLetters
from sorbus.producers.event_writer import Progress
from sorbus.producers.hot_records import HotRecords
from sorbus.producers.own_topics import OwnTopics
from sorbus.producers.retry_pause import RetryPause, retry_backoff
from sorbus.producers.session import CaptureSession
from sorbus.settings import Settings
from sorbus.telemetry.health import Health
from sorbus.telemetry.metrics import ProducerMetrics
from sorbus.telemetry.stop import Stop

_STEADY = 30.0
"""Seconds of reading after which a fault is a new one."""


class ProduceLoop:
    """Publishes one system's changes until asked to stop."""

    def __init__(
        self,
        make: Callable[[], Producer],
        system: BoundSystem,
        sources: Sequence[BoundSource],
        settings: Settings,
        *,
        health: Health,
        metrics: ProducerMetrics,
        stop: Stop,
        progress: Progress | None = None,
        history: HistoryRecorder = NO_HISTORY,
    ) -> None:
        self._make, self._system, self._settings = make, system, settings
        self._health, self._metrics, self._stop, self._progress = health, metrics, stop, progress
        self._history = history
        self._topics = OwnTopics(settings, system, sources, health)
        self._letters = SourceDeadLetters(settings, system, sources, metrics)
        self._hot = HotRecords(system.name, health, metrics)
        self._requests = RereadRequests(settings, self._topics.names, system.name)
        self._backoff = retry_backoff()
        self._session: CaptureSession | None = None
        self._failed_at: datetime | None = None
        """When the first session failed since one last read for a while."""
        health.report("kafka", f"Kafka has not answered yet at {settings.kafka}")

    def run(self) -> None:
        """Until stopped. Transient faults are retried for ever; AuthError, LostPosition and SchemaError end it."""
        reachable = Reachable(self._settings.kafka, partial(self._health.report, "kafka"))
        pause = RetryPause(self._health, self._metrics, self._stop)
        try:
            while not self._stop.is_set():
                try:
                    self._capture(reachable)
                except TransientError as error:
                    self._topics.heeds_sizes |= isinstance(error, Oversized)
                    pause.after(error, self._backoff, since=self._fails_since())
        finally:
            self._requests.close()

    def _fails_since(self) -> datetime:
        """A session that could connect, and then fails as the last one did, has changed nothing."""
        has_worked = self._session is not None and self._session.seconds_of_reading() >= _STEADY
        self._session = None
        if self._failed_at is None or has_worked:
            self._failed_at = datetime.now(UTC)
        return self._failed_at

    def _capture(self, reachable: Reachable) -> None:
        """From connecting to the first fault or the stop. What is published makes the next pause short again."""
        publisher = Publisher(
            self._settings,
            self._topics.names.transactional_id(self._system.name),
            is_stopping=self._stop.is_set,
            reachable=reachable,
            largest=self._topics.largest if self._topics.heeds_sizes else {},
        )
        self._health.report("kafka", None)
        self._session = session = CaptureSession(
            self._make(),
            publisher,
            self._system,
            self._topics,
            self._letters,
            self._settings,
            health=self._health,
            metrics=self._metrics,
            stop=self._stop,
            hot=self._hot,
            requests=self._requests,
            progress=self._progress,
            published=self._backoff.reset,
            history=self._history,
            is_retry=self._failed_at is not None,
        )
        try:
            session.open()
            session.run()
        finally:
            session.close()
