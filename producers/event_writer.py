"""From a producer's batches to Kafka transactions: events, tombstones, dead letters and the position after them."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from sorbus.bus.positions import position_message
from sorbus.bus.publisher import Outgoing, Publisher
from sorbus.connector import Batch, Change, Position, Producer, RejectedRecord, StaleRecordDeletion
from sorbus.errors import PermanentError
from sorbus.event import DELIVERED, HISTORICAL, ON_TOMBSTONES, REREAD
from sorbus.history.recorder import NO_HISTORY, HistoryRecorder
from sorbus.producers.dead_letters import SourceDeadLetters, still_rejected
from sorbus.producers.own_topics import OwnTopics
from sorbus.producers.stale_records import stale_deletes
from sorbus.producers.webhook_inbox import NoInbox
from sorbus.settings import Settings
from sorbus.telemetry.health import Health
from sorbus.telemetry.metrics import ProducerMetrics

_COMMIT_AFTER = 0.25
_IDLE = 1.0
_log = logging.getLogger(__name__)
Progress = Callable[[str, int, int], None]


class EventWriter:
    """What one session of a producer publishes. `published` is called after each commit that held events."""

    def __init__(
        self,
        publisher: Publisher,
        producer: Producer,
        topics: OwnTopics,
        letters: SourceDeadLetters,
        inbox: NoInbox,
        settings: Settings,
        *,
        health: Health,
        metrics: ProducerMetrics,
        progress: Progress | None,
        published: Callable[[], None],
        history: HistoryRecorder = NO_HISTORY,
    ) -> None:
        self._history = history
        self._bytes: Counter[str] = Counter()
        self._rejected: Counter[str] = Counter()
        self.asked: set[tuple[str, bytes]] = set()
        """(Data type, id) of records that a person has asked for: their next events say so."""
        self._publisher, self._producer, self._settings = publisher, producer, settings
        self._topics, self._letters, self._inbox = topics, letters, inbox
        self._health, self._metrics, self._progress, self._published = health, metrics, progress, published
        self._position: Position | None = None
        self._count: Counter[tuple[str, bool]] = Counter()

    def time_left(self) -> float:
        """Seconds until the transaction in progress is to be committed; without one, how soon a stop is heard."""
        since = self._publisher.open_since
        return _IDLE if since is None else max(0.0, since + _COMMIT_AFTER - time.monotonic())

    def add(self, batch: Batch) -> None:
        """Puts a batch and its position into the transaction, beginning one if need be. TransientError."""
        for deletion in batch.sweeps:
            self.commit()  # the stale records are read from the topic: what came before must be on it
            self._delete_stale(deletion)
        self._position = batch.position
        self._add_changes(batch.changes, is_historical=batch.copied is not None, delivered=batch.delivered)
        self._letters.resolve(batch.resolved, self._publisher)
        for reject in still_rejected(batch):
            self._letters.write(reject, self._publisher)
            self._rejected[reject.data_type] += 1
        if self._publisher.open_since is None:  # nothing but a new position
            self._publisher.produce(*self._stored(batch.position))
        if batch.copied:
            self._metrics.copied(*batch.copied)
            if self._progress:
                self._progress(*batch.copied)

    def commit_if_due(self, *, at_once: bool) -> None:
        """Commits a transaction that has been open for long enough, or `at_once`. TransientError."""
        since = self._publisher.open_since
        if since is not None and (at_once or time.monotonic() - since >= _COMMIT_AFTER):
            self.commit()

    def commit(self) -> None:
        """Commits the transaction in progress, if there is one, with the position. TransientError."""
        position = self._position
        since = self._publisher.open_since
        if position is None or since is None:
            return
        self._publisher.produce(*self._stored(position))
        self._publisher.commit()
        self._producer.confirm(position)
        for (data_type, deleted), count in self._count.items():
            self._metrics.published(data_type, **{"deletes" if deleted else "upserts": count})
        if self._count:
            self._published()
        self._record(time.monotonic() - since)

    def _record(self, seconds: float) -> None:
        """For the history: what is on the bus now, and how long its transaction was open."""
        for data_type in {of for of, _ in self._count} | self._rejected.keys():
            deleted, rejected = self._count[data_type, True], self._rejected[data_type]
            self._history.add(
                data_type,
                captured=self._count[data_type, False] + deleted,
                deleted=deleted,
                refused=rejected,
                bytes=self._bytes[data_type],
                seconds=seconds,
            )
        for counter in (self._count, self._bytes, self._rejected):
            counter.clear()

    def _stored(self, position: Position) -> tuple[str, bytes, bytes]:
        stored = self._topics.stored(self._inbox.stored(position))
        return position_message(self._topics.names, self._topics.system, stored)

    def _add_changes(
        self,
        changes: Sequence[Change],
        *,
        is_historical: bool = False,
        delivered: Mapping[tuple[str, bytes, int], int] = MappingProxyType({}),
    ) -> None:
        if not changes:
            return
        encoders, topics = self._topics.encoders, self._topics.topics
        captured_at = time.time_ns() // 1000
        self._letters.supersede(changes, self._publisher)
        messages: list[Outgoing] = []
        sources: list[Change] = []
        for change in changes:
            data_type, id, version, occurred_at, data = change
            try:
                value, headers = encoders[data_type](id, version, occurred_at, captured_at, data)
            except (ValueError, OverflowError) as unfit:
                self._reject(change, _out_of_range(change, unfit))
                continue
            if is_historical:
                headers.append((HISTORICAL, b"1"))
            if delivered and (brought := delivered.get((data_type, id, version))) is not None:
                headers.append((DELIVERED, b"%d" % brought))
            if self.asked and (data_type, id) in self.asked:
                self.asked.discard((data_type, id))
                headers.append((REREAD, b"1"))
            messages.append((topics[data_type], id, value, headers))
            self._bytes[data_type] += len(value)
            sources.append(change)
            if data is None:
                tombstone = [item for item in headers if item[0] in ON_TOMBSTONES]
                messages.append((topics[data_type], id, None, tombstone))
                sources.append(change)
        for place, error in self._publisher.produce_all(messages):
            self._reject(sources[place], error)
        for data_type in {change.data_type for change in sources}:
            self._topics.published(data_type, max(change.version for change in sources))
        self._count.update((change.data_type, change.data is None) for change in changes)

    def _reject(self, change: Change, error: PermanentError) -> None:
        reject = RejectedRecord(change.data_type, change.id, change.version, change.occurred_at, b"", error)
        self._letters.write(reject, self._publisher)

    def _delete_stale(self, deletion: StaleRecordDeletion) -> None:
        spared = self._letters.open_of(deletion.data_type) if deletion.spares_rejected else ()
        deleted = 0
        topic = self._topics.names.topic(deletion.data_type)
        for chunk in stale_deletes(self._settings, topic, deletion, spared):
            self._add_changes(chunk)
            self._health.beat()
            deleted += len(chunk)
        _log.info("%s: %d stale records of %s deleted", self._topics.system, deleted, deletion.data_type)


def _out_of_range(change: Change, error: Exception) -> PermanentError:
    """A change whose version or time no event can hold, whatever connector made it."""
    return PermanentError(
        f"version {change.version} and time {change.occurred_at} (microseconds since 1970) don't fit into an event:"
        f" {error}; fix the record's update time at the source",
        reason="not canonical",
    )
