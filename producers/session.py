"""One session of a producer, from connecting to its first fault: what it reads is published, in transactions.

Any fault ends the session, and the next one resumes at the last committed position. The one exception is a poll: what
it remembers of its topics is expensive, and it has no stream to lose, so it is asked again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import cached_property

from sorbus.abilities import SupportsProgress, SupportsRefetch, SupportsState
from sorbus.bus.publisher import Publisher
from sorbus.bus.requests import RereadRequests
from sorbus.connector import BoundSystem, Producer
from sorbus.errors import PartialOutage, TransientError, Unfinished
from sorbus.history.recorder import NO_HISTORY, HistoryRecorder
from sorbus.producers.dead_letters import SourceDeadLetters
from sorbus.producers.direct_events import direct_events
from sorbus.producers.event_writer import EventWriter, Progress
from sorbus.producers.hot_records import HotRecords
from sorbus.producers.own_topics import OwnTopics
from sorbus.producers.retry_pause import LONGEST_PAUSE, RetryPause, retry_backoff
from sorbus.producers.webhook_inbox import inbox_of
from sorbus.settings import Settings
from sorbus.snapshot_control import SupportsBackfill
from sorbus.telemetry.health import Health
from sorbus.telemetry.metrics import ProducerMetrics
from sorbus.telemetry.stop import Stop

_MEASURE_EVERY = 10.0
_log = logging.getLogger(__name__)


class CaptureSession:
    """Reads one producer, and publishes what it gives. `close` it, whatever happened."""

    def __init__(
        self,
        producer: Producer,
        publisher: Publisher,
        system: BoundSystem,
        topics: OwnTopics,
        letters: SourceDeadLetters,
        settings: Settings,
        *,
        health: Health,
        metrics: ProducerMetrics,
        stop: Stop,
        hot: HotRecords,
        requests: RereadRequests,
        progress: Progress | None,
        published: Callable[[], None],
        history: HistoryRecorder = NO_HISTORY,
        is_retry: bool = False,
    ) -> None:
        """`is_retry`: the last one failed, and so this one is ready once it has read."""
        self._is_retry = is_retry
        self._worked = (0.0, 0.0)
        """From when to when each reading was published; zeros before the first."""
        self._producer, self._settings = producer, settings
        self._topics, self._letters, self._hot = topics, letters, hot
        self._health, self._metrics, self._stop = health, metrics, stop
        self._pause = RetryPause(health, metrics, stop)
        self._source_backoff = retry_backoff()
        self._inbox = inbox_of(producer, system, settings, topics.names)
        self._requests = requests
        self._writer = EventWriter(
            publisher,
            producer,
            topics,
            letters,
            self._inbox,
            requests,
            settings,
            health=health,
            metrics=metrics,
            progress=progress,
            published=published,
            history=history,
        )
        self._measured_at = 0.0

    def open(self) -> None:
        """Resumes at the stored position. TransientError, AuthError, LostPosition, SchemaError."""
        producer, topics, system = self._producer, self._topics, self._topics.system
        schemas = topics.prepare()
        if isinstance(producer, SupportsRefetch):
            self._requests.open()
        self._letters.load()
        rejected = self._letters.open_ids()
        if isinstance(producer, SupportsState):
            topics.remember(producer, schemas, rejected)
        inherited = topics.inherit()
        position = self._inbox.open(self._requests.resume(topics.position))
        topics.take_over(producer, inherited)
        producer.open(position)
        self._writer.open(direct_events(topics, self._settings, producer, self._stop.is_set))
        topics.resnapshot(producer, inherited)
        if isinstance(producer, SupportsRefetch):  # the map or the source may have been fixed
            for data_type, ids in [*rejected.items(), *self._requests.unanswered(topics.topics)]:
                producer.reread(data_type, ids)
        self._writer.asked = self._requests.outstanding
        if not self._is_retry:
            self._health.ready()
        _log.info("capturing %s from %s", ", ".join(topics.encoders), system)

    def run(self) -> None:
        """Until asked to stop. TransientError, AuthError, LostPosition."""
        while not self._stop.is_set():
            self._health.beat()
            self._writer.poll()
            self._read_and_publish()
            self._reread_requested()
            if self._topics.is_check_due:
                self._writer.check()
            self._measure()
        self._writer.commit()

    def seconds_of_reading(self) -> float:
        """For how long what was read could be published; 0 where it never could."""
        first, last = self._worked
        return last - first

    def close(self) -> None:
        """Gives up what is not committed, and disconnects."""
        self._writer.close()
        self._producer.close()
        self._inbox.close()

    def _read_and_publish(self) -> None:
        self._writer.gather()
        wait = self._writer.time_left()
        try:
            batch = self._producer.read(self._inbox.read_wait(wait))
        except (Unfinished, TransientError) as error:
            self._wait_for(error)
            return
        if not self._is_retry:
            self._report_problem()
        batch = self._inbox.complete(batch)
        if batch is not None:
            if batch.copied is None:
                self._hot.count(batch.changes)
            self._writer.add(batch)
        has_more = batch is not None and not batch.caught_up
        # A poll's next batch is a request away, so what there is goes out now.
        self._writer.commit_if_due(at_once=not has_more or self._is_poll)
        if not has_more:
            self._metrics.caught_up()
        self._inbox.poll(wait if batch is None else 0.0)
        self._note_work()

    def _note_work(self) -> None:
        now = time.monotonic()
        self._worked = self._worked[0] or now, now
        if self._is_retry:
            self._is_retry = False
            self._report_problem()

    # Asked at each read, and dear: an isinstance of a Protocol looks at all its members.
    @cached_property
    def _is_poll(self) -> bool:
        return isinstance(self._producer, SupportsState)

    @cached_property
    def _reporter(self) -> SupportsProgress | None:
        return self._producer if isinstance(self._producer, SupportsProgress) else None

    @cached_property
    def _rereader(self) -> SupportsRefetch | None:
        return self._producer if isinstance(self._producer, SupportsRefetch) else None

    def _report_problem(self) -> None:
        """Whether a part of the source, or its webhooks, can't be read."""
        problem = None if self._reporter is None else self._reporter.problem
        problem = self._inbox.problem if problem is None else problem
        if self._health.waiting() != problem:
            self._health.ready(problem)
        if problem is None:
            self._source_backoff.reset()

    def _wait_for(self, error: Unfinished | TransientError) -> None:
        """What has been read is published; then it waits. Faults of a source that isn't a poll end the session.

        A poll that may not ask yet is at work; a stream that hasn't begun isn't ready.
        """
        if isinstance(error, TransientError) and not self._is_poll:
            raise error
        self._writer.commit()
        if isinstance(error, PartialOutage):
            self._pause.partial(error)
        elif isinstance(error, TransientError):
            self._pause.after(error, self._source_backoff)
        else:
            if self._is_poll:
                self._note_work()
            elif str(error) != self._health.waiting():
                self._health.ready(str(error))
                _log.info("%s: %s", self._topics.system, error)
            self._pause.wait(min(error.retry_after, LONGEST_PAUSE))
        self._inbox.poll(0.0)

    def _reread_requested(self) -> None:
        """People requeue letters: the producer reads those records again."""
        if self._rereader is not None:
            for data_type, ids in self._requests.read().items():
                if data_type in self._topics.topics:
                    self._writer.asked.update((data_type, id) for id in ids)
                    self._rereader.reread(data_type, ids)
                else:
                    self._requests.answered((data_type, id) for id in ids)
            for asked in self._requests.backfills():
                if isinstance(self._producer, SupportsBackfill):
                    _log.info("%s: snapshot of %s: %s", self._topics.system, asked.data_type, asked.action)
                    self._producer.backfill(*asked)
                elif asked.action == "start" and not asked.where:
                    _log.info("%s: %s is made again", self._topics.system, asked.data_type)
                    self._producer.resnapshot([asked.data_type])

    def _measure(self) -> None:
        self._hot.look()
        now = time.monotonic()
        if now - self._measured_at > _MEASURE_EVERY:
            self._measured_at = now
            self._metrics.source_lag(self._producer.lag())
