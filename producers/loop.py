"""The loop that every producer shares: batches in, transactions on the bus out, the position with them.

It owns retries, dead letters, metrics and shutdown; a connector only reads. Any fault closes both ends and begins again
at the last committed position, so that there is one way to recover and it is the way a restart takes too. The one
exception is a poll: what it remembers of its topics is dear, and it has no stream to lose, so it is just asked again.
"""

from __future__ import annotations

import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from sorbus.abilities import (
    PublishedState,
    SupportsNotifications,
    SupportsProgress,
    SupportsRefetch,
    SupportsState,
    SupportsTakeover,
)
from sorbus.bus.inbox import POSITION_KEY
from sorbus.bus.kafka import admin
from sorbus.bus.names import Names
from sorbus.bus.ownership import Inherited, Ownership
from sorbus.bus.positions import position_message, read_positions
from sorbus.bus.published import published_records
from sorbus.bus.publisher import Outgoing, Publisher
from sorbus.bus.reachable import Reachable
from sorbus.bus.requests import RereadRequests
from sorbus.bus.schema_resolver import SchemaResolver
from sorbus.bus.stale_records import OpenLetter, open_source_letters, stale_keys
from sorbus.bus.topic_facts import topic_facts
from sorbus.connector import (
    Batch,
    BoundSource,
    BoundSystem,
    Change,
    Position,
    Producer,
    RejectedRecord,
    StaleRecordDeletion,
    producer_connector,
)
from sorbus.deadletter import CLOSED, CLOSED_BY, DeadLetter
from sorbus.errors import LostPosition, PartialOutage, PermanentError, TransientError, Unfinished
from sorbus.event import ON_TOMBSTONES, EventEncoder, event_encoder
from sorbus.privacy.errors import source_privacy
from sorbus.producers.hot_records import HotRecords
from sorbus.producers.webhook_inbox import InboxReader
from sorbus.settings import Settings
from sorbus.telemetry.health import Health
from sorbus.telemetry.metrics import ProducerMetrics
from sorbus.telemetry.stop import Stop

_COMMIT_AFTER = 0.25
_MEASURE_EVERY = 10.0
_COMPARE_EVERY, _SOON = 10.0, 1.0
_LONGEST_PAUSE = 60.0
_log = logging.getLogger(__name__)
Progress = Callable[[str, int, int], None]


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
    ) -> None:
        self._make = make
        self._system, self._kind = system.name, system.system.kind
        resources_of = producer_connector(system.system.kind).resources_of
        self._privacy = {each.name: source_privacy(each, resources_of(each.options)) for each in sources}
        self._has_inbox = bool(getattr(system.connection, "webhook_secret", None))
        self._sources = sources
        self._settings = settings
        self._names = Names(system.topic_prefix)
        self._topics = {source.name: self._names.topic(source.name) for source in sources}
        self._health, self._metrics, self._stop, self._progress = health, metrics, stop, progress
        self._reachable = Reachable(settings.kafka, self._kafka_is)
        self._kafka_is(f"Kafka has not answered yet at {settings.kafka}")
        self._encoders: Mapping[str, EventEncoder] = {}
        self._count: Counter[tuple[str, bool]] = Counter()
        self._measured_at = self._compared_at = 0.0
        self._admin = admin(settings)
        self._ownership = Ownership(self._system, self._kind, {})
        self._position: Position | None = None
        self._ear: InboxReader | None = None
        self._requests: RereadRequests | None = None
        self._faults = 0
        self._open_letters: dict[str, dict[bytes, OpenLetter]] = {}
        self._hot = HotRecords(self._system, health, metrics)
        self.published = 0

    def run(self) -> None:
        """Until stopped. Transient faults are retried for ever; AuthError, LostPosition and SchemaError end it."""
        failures = 0
        while not self._stop.is_set():
            before = self.published
            try:
                self._session()
            except TransientError as error:
                failures = 1 if self.published > before else failures + 1
                self._back_off(error, failures)

    def _kafka_is(self, trouble: str | None) -> None:
        self._health.block("kafka", trouble) if trouble else self._health.unblock("kafka")

    def _back_off(self, error: TransientError, failures: int) -> None:
        growing = min(30.0, 0.5 * 2 ** min(failures, 6)) * (0.5 + random.random() / 2)  # noqa: S311
        delay = min(error.retry_after or growing, _LONGEST_PAUSE)
        self._metrics.retried()
        self._health.ready(str(error), dependency=error.dependency)
        _log.warning("%s; trying again in %.1f s", error, delay)
        self._pause(delay)

    def _pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and not self._stop.wait(min(left, 5.0)):
            self._health.beat()

    def _session(self) -> None:
        """From connecting to the first fault or the stop."""
        publisher = Publisher(
            self._settings,
            self._names.transactional_id(self._system),
            is_stopping=self._stop.is_set,
            reachable=self._reachable,
        )
        self._kafka_is(None)
        producer = self._make()
        try:
            book = self._prepare()
            topics = [self._names.dead_letters(source.name) for source in self._sources]
            if isinstance(producer, SupportsRefetch):
                self._requests = RereadRequests(self._settings, self._names, self._system)
            self._open_letters = open_source_letters(self._settings, topics, self._system)
            if isinstance(producer, SupportsState):
                self._remind(producer, book)
            inherited = self._inherit()
            position = self._listen(producer, self._ownership.position)
            self._take_over(producer, inherited)
            producer.open(position)
            if inherited and not isinstance(producer, SupportsTakeover):
                producer.resnapshot([one.data_type for one in inherited])
            if isinstance(producer, SupportsRefetch):  # the map or the source may have been fixed
                for data_type, letters in self._open_letters.items():
                    producer.reread(data_type, list(letters))
            self._health.ready()
            _log.info("capturing %s from %s", ", ".join(self._encoders), self._system)
            self._publish_until_stopped(producer, publisher)
        finally:
            publisher.close()
            producer.close()
            if self._ear is not None:
                self._ear.close()
            if self._requests is not None:
                self._requests.close()
                self._requests = None

    def _remind(self, producer: SupportsState, book: SchemaResolver) -> None:
        """Tells a poll what is on its topics; where a dead letter is open, that it knows nothing for sure."""
        for source in self._sources:
            topic, letters = self._topics[source.name], self._open_letters.get(source.name, ())
            published = published_records(self._settings, topic, book, source.schema, doubtful=letters)
            producer.remember(source.name, self._beating(published))

    def _inherit(self) -> list[Inherited]:
        """The data types whose topics aren't as this system's producer left them: another's, lost, or made again."""
        ownership = Ownership(self._system, self._kind, read_positions(self._settings, self._names))
        facts = topic_facts(self._admin, self._topics.values())
        found = []
        for data_type, topic in self._topics.items():
            if topic not in facts:
                raise TransientError(f"there is no topic {topic}; run `sorbus apply`")
            self._health.beat()
            one = ownership.inherits(data_type, facts[topic], self._settings, topic)
            if one is not None:
                _log.warning("%s: snapshotting %s again: %s", self._system, data_type, one.why)
                found.append(one)
        self._ownership, self._compared_at = ownership, time.monotonic()
        return found

    def _take_over(self, producer: Producer, inherited: Sequence[Inherited]) -> None:
        """Letters of a former owner's rows are nobody's any more: the new owner's records are judged anew."""
        if not inherited:
            return
        if isinstance(producer, SupportsTakeover):
            producer.take_over({one.data_type: one.floor for one in inherited})
        elif not isinstance(producer, SupportsState):
            moved = ", ".join(one.data_type for one in inherited if one.former)
            if moved:
                raise LostPosition(
                    f"{self._kind} systems can't take over what another system has published ({moved}): give the map"
                    " another topic_prefix, or teach the connector SupportsTakeover"
                )

    def _compare_topics(self) -> None:
        """TransientError, which begins anew, when a topic isn't any more what it was."""
        now = time.monotonic()
        if now - self._compared_at < _COMPARE_EVERY:
            return
        self._compared_at = now
        facts = topic_facts(self._admin, self._topics.values())
        for data_type, topic in self._topics.items():
            if why := self._ownership.changed(data_type, topic, facts.get(topic)):
                raise TransientError(why, retry_after=_SOON)

    def _beating(self, published: Iterable[PublishedState]) -> Iterator[PublishedState]:
        for count, record in enumerate(published):
            if count % 1000 == 0:
                self._health.beat()
            yield record

    def _listen(self, producer: Producer, position: Position | None) -> Position | None:
        """Opens the inbox of a producer that hears webhooks; the position without the inbox's part of it."""
        stored = None if position is None else position.pop(POSITION_KEY, None)
        self._ear = None
        if self._has_inbox and isinstance(producer, SupportsNotifications):
            heard = stored if isinstance(stored, dict) else None
            self._ear = InboxReader(producer, self._settings, self._names, self._system, heard, position or {})
        return position

    def _prepare(self) -> SchemaResolver:
        book = SchemaResolver(self._settings, self._names, [source.schema for source in self._sources])
        if not self._encoders:
            self._encoders = {
                source.name: event_encoder(book.prefix(source.name, source.schema), self._system, source.name)
                for source in self._sources
            }
        return book

    def _publish_until_stopped(self, producer: Producer, publisher: Publisher) -> None:
        self._position = None
        ear, is_poll = self._ear, isinstance(producer, SupportsState)
        while not self._stop.is_set():
            self._health.beat()
            publisher.poll()
            open_since = publisher.open_since
            wait = 1.0 if open_since is None else max(0.0, open_since + _COMMIT_AFTER - time.monotonic())
            try:
                batch = producer.read(wait if ear is None else 0.0)
            except (Unfinished, TransientError) as error:
                self._wait_for(error, producer, publisher)
                self._hear_requests(producer)
                self._compare_topics()
                self._measure(producer)
                continue
            problem = producer.problem if isinstance(producer, SupportsProgress) else None
            if problem is None and ear is not None:
                problem = ear.problem
            if self._health.waiting() != problem:
                self._health.ready(problem)
            if problem is None:
                self._faults = 0
            if ear is not None:
                batch = ear.answered(batch)
            if batch is not None:
                self._publish(batch, producer, publisher)
            since = publisher.open_since
            # A poll's next batch is a request away, so what there is goes out now.
            is_due = batch is None or batch.caught_up or is_poll
            if since is not None and (is_due or time.monotonic() - since >= _COMMIT_AFTER):
                self._commit(producer, publisher)
            if batch is None or batch.caught_up:
                self._metrics.caught_up()
            if ear is not None:
                ear.listen(wait if batch is None else 0.0)
            self._hear_requests(producer)
            self._compare_topics()
            self._measure(producer)
        self._commit(producer, publisher)

    def _hear_requests(self, producer: Producer) -> None:
        """People send letters back: the producer reads those records again."""
        if self._requests is not None and isinstance(producer, SupportsRefetch):
            for data_type, ids in self._requests.read().items():
                if data_type in self._topics:
                    producer.reread(data_type, ids)

    def _wait_for(self, error: Unfinished | TransientError, producer: Producer, publisher: Publisher) -> None:
        """What has been read goes out; then it waits. Faults of a source that isn't a poll are the session's end.

        A poll that may not ask yet is at work; a stream that hasn't begun isn't ready.
        """
        if isinstance(error, TransientError) and not isinstance(producer, SupportsState):
            raise error
        self._commit(producer, publisher)
        if isinstance(error, PartialOutage):
            self._metrics.retried()
            self._health.ready(str(error), dependency=error.dependency)
            _log.warning("%s; retrying in %.1f s, the rest continues", error, error.retry_after or 0.0)
        elif isinstance(error, TransientError):
            self._faults += 1
            self._back_off(error, self._faults)
        else:
            if not isinstance(producer, SupportsState) and str(error) != self._health.waiting():
                self._health.ready(str(error))
                _log.info("%s: %s", self._system, error)
            self._pause(min(error.retry_after, _LONGEST_PAUSE))
        if self._ear is not None:
            self._ear.listen(0.0)

    def _stored(self, position: Position) -> tuple[str, bytes, bytes]:
        """The position as a message, with what of the inbox is done."""
        stored = position if self._ear is None else {**position, POSITION_KEY: self._ear.done}
        return position_message(self._names, self._system, self._ownership.stored(stored))

    def _commit(self, producer: Producer, publisher: Publisher) -> None:
        position = self._position
        if position is None or publisher.open_since is None:
            return
        topic, key, value = self._stored(position)
        publisher.produce(topic, key, value)
        publisher.commit()
        producer.confirm(position)
        for (data_type, deleted), count in self._count.items():
            self._metrics.published(data_type, **{"deletes" if deleted else "upserts": count})
            self.published += count
        self._count.clear()

    def _publish(self, batch: Batch, producer: Producer, publisher: Publisher) -> None:
        for sweep in batch.sweeps:
            self._commit(producer, publisher)  # the sweep reads the topic: what came before must be on it
            self._sweep(sweep, publisher)
        self._position = batch.position
        if batch.copied is None:
            self._hot.count(batch.changes)
        self._publish_changes(batch.changes, publisher)
        self._resolve(batch.resolved, publisher)
        for reject in _still_bad(batch):
            self._reject(reject, publisher)
        if publisher.open_since is None:  # nothing but a new position
            topic, key, value = self._stored(batch.position)
            publisher.produce(topic, key, value)
        if batch.copied:
            self._metrics.copied(*batch.copied)
            if self._progress:
                self._progress(*batch.copied)

    def _publish_changes(self, changes: Sequence[Change], publisher: Publisher) -> None:
        if not changes:
            return
        encoders, topics = self._encoders, self._topics
        captured_at = time.time_ns() // 1000
        self._close_letters(changes, publisher)
        messages: list[Outgoing] = []
        sources: list[Change] = []
        for change in changes:
            data_type, id, version, occurred_at, data = change
            try:
                value, headers = encoders[data_type](id, version, occurred_at, captured_at, data)
            except (ValueError, OverflowError) as unfit:
                self._reject(RejectedRecord(data_type, id, version, occurred_at, b"", _unfit(change, unfit)), publisher)
                continue
            messages.append((topics[data_type], id, value, headers))
            sources.append(change)
            if data is None:
                tombstone = [item for item in headers if item[0] in ON_TOMBSTONES]
                messages.append((topics[data_type], id, None, tombstone))
                sources.append(change)
        for place, error in publisher.produce_all(messages):
            change = sources[place]
            self._reject(
                RejectedRecord(change.data_type, change.id, change.version, change.occurred_at, b"", error), publisher
            )
        for data_type in {change.data_type for change in sources}:
            self._ownership.took(data_type, max(change.version for change in sources))
        self._count.update((change.data_type, change.data is None) for change in changes)

    def _close_letters(self, changes: Sequence[Change], publisher: Publisher) -> None:
        """A record's new state makes its dead letter obsolete: it is closed in the same transaction."""
        for data_type, ids in self._open_letters.items():
            if not ids:
                continue
            versions = {change.id: change.version for change in changes if change.data_type == data_type}
            for id in ids.keys() & versions.keys():
                self._close_letter(data_type, id, publisher, [(CLOSED_BY, str(versions[id]).encode())])

    def _resolve(self, resolved: Sequence[tuple[str, bytes]], publisher: Publisher) -> None:
        """Rows that were no records have changed or gone, and with them their letters."""
        for data_type, id in resolved:
            if id in self._open_letters.get(data_type, ()):
                self._close_letter(data_type, id, publisher, [])

    def _close_letter(self, data_type: str, id: bytes, publisher: Publisher, by: list[tuple[str, bytes]]) -> None:
        key = _letter_id(self._system, data_type, id).encode()
        publisher.produce(self._names.dead_letters(data_type), key, None, [(CLOSED, b"superseded"), *by])
        del self._open_letters[data_type][id]

    def _sweep(self, sweep: StaleRecordDeletion, publisher: Publisher) -> None:
        """Deletes what is older than the sweep."""
        topic = self._names.topic(sweep.data_type)
        gone = 0
        chunk: list[Change] = []
        spared = self._open_letters.get(sweep.data_type, {}) if sweep.spares_rejected else ()
        for id in stale_keys(self._settings, topic, sweep.version):
            if id in spared:
                continue
            chunk.append(Change(sweep.data_type, id, sweep.version, sweep.occurred_at, None))
            gone += 1
            if len(chunk) >= 5000:
                self._publish_changes(chunk, publisher)
                self._health.beat()
                chunk = []
        self._publish_changes(chunk, publisher)
        _log.info("%s: %d stale records of %s deleted", self._system, gone, sweep.data_type)

    def _reject(self, reject: RejectedRecord, publisher: Publisher) -> None:
        error = self._privacy[reject.data_type].error(reject.error, reject.id, reject.raw)
        letter = DeadLetter.refused(
            error,
            data_type=reject.data_type,
            system=self._system,
            origin=(self._names.topic(reject.data_type), -1, -1),
            record_id=reject.id,
            value=reject.raw,
            id=_letter_id(self._system, reject.data_type, reject.id),
        )
        known = self._open_letters.setdefault(reject.data_type, {})
        if before := known.get(reject.id):
            letter = letter.again(*before)
        known[reject.id] = OpenLetter(letter.attempts, letter.first_at)
        topic, key = self._names.dead_letters(reject.data_type), letter.id.encode()
        try:
            publisher.produce(topic, key, letter.value, letter.to_headers())
        except PermanentError as too_large:
            letter = replace(letter, value=b"", message=f"{letter.message} (without the raw row: {too_large})")
            publisher.produce(topic, key, letter.value, letter.to_headers())
        self._metrics.rejected(reject.data_type, error.reason)
        _log.warning("%s %s of %s is a dead letter: %s", reject.data_type, _shown(reject.id), self._system, error)

    def _measure(self, producer: Producer) -> None:
        self._hot.look()
        now = time.monotonic()
        if now - self._measured_at > _MEASURE_EVERY:
            self._measured_at = now
            self._metrics.source_lag(producer.lag())


def _still_bad(batch: Batch) -> list[RejectedRecord]:
    """The rejects that no newer good state of the same record in the same batch has made obsolete."""
    if not batch.rejects:
        return []
    newest = {(change.data_type, change.id): change.version for change in batch.changes}
    return [reject for reject in batch.rejects if newest.get((reject.data_type, reject.id), -1) < reject.version]


def _unfit(change: Change, error: Exception) -> PermanentError:
    """A change whose version or time no event can hold, whatever connector made it."""
    return PermanentError(
        f"version {change.version} and time {change.occurred_at} (microseconds since 1970) don't fit into an event:"
        f" {error}; fix the record's update time at the source",
        reason="not canonical",
    )


def _letter_id(system: str, data_type: str, id: bytes) -> str:
    """One letter per record of a source: a later failure of the same record replaces it."""
    return f"{system}:{data_type}:{_shown(id)}"


def _shown(id: bytes) -> str:
    return id.decode(errors="backslashreplace")
