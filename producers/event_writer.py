"""From a producer's batches to Kafka: events, tombstones, dead letters and, in a transaction, the position after them.

Few events that the source would give again are sent at once (`direct_events.py`); all else is part of a transaction.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from sorbus.abilities import SupportsRefetch
from sorbus.bus.positions import position_message
from sorbus.bus.publisher import Outgoing, Publisher
from sorbus.bus.requests import RereadRequests
from sorbus.connector import (
    Batch,
    Change,
    Position,
    Producer,
    RejectedRecord,
    StaleRecordDeletion,
    data_type_of,
    version_of,
)
from sorbus.errors import PermanentError
from sorbus.event import DELIVERED, HISTORICAL, ON_TOMBSTONES, REREAD
from sorbus.history.recorder import NO_HISTORY, HistoryRecorder
from sorbus.producers.counted_ends import CountedEnds, counted_ends
from sorbus.producers.dead_letters import SourceDeadLetters, still_rejected
from sorbus.producers.direct_events import DirectEvents
from sorbus.producers.own_topics import OwnTopics
from sorbus.producers.stale_records import stale_deletes
from sorbus.producers.webhook_inbox import NoInbox
from sorbus.settings import Settings
from sorbus.telemetry.health import Health
from sorbus.telemetry.metrics import ProducerMetrics

_COMMIT_AFTER = 0.25
_IDLE = 1.0
_STORE_AFTER, _QUIET = 1.0, 0.05
"""Seconds until the position is stored behind events that were sent directly: at most, and after the last of them."""
_APART = 0.003
"""Seconds between two sendings: what comes closer together is sent together, and costs Kafka one request."""
_MOST, _MOST_BYTES = 5000, 8_000_000
"""So many messages, and bytes, may lie behind the stored position: a restart reads them."""
_log = logging.getLogger(__name__)
Progress = Callable[[str, int, int], None]


class _Written:
    """Changes as messages; `sources` has the change of each message."""

    def __init__(self, changes: Sequence[Change]) -> None:
        self.changes = changes
        self.messages: list[Outgoing] = []
        self.sources: list[Change] = []
        self.refused: list[tuple[Change, PermanentError]] = []
        self.is_asked = False

    def keep(self, places: Sequence[int] | None) -> None:
        """Leaves only the messages in these places; None: all."""
        if places is not None:
            self.messages = [self.messages[place] for place in places]
            self.sources = [self.sources[place] for place in places]


class EventWriter:
    """What one session of a producer publishes. `published` is called after each commit that held events."""

    def __init__(
        self,
        publisher: Publisher,
        producer: Producer,
        topics: OwnTopics,
        letters: SourceDeadLetters,
        inbox: NoInbox,
        requests: RereadRequests,
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
        self._answered: set[tuple[str, bytes]] = set()
        """Those whose events are in the transaction in progress."""
        self._judged: set[tuple[str, bytes]] = set()
        """Those of which it says that they are wrong, or no longer are."""
        self._requests, self._place = requests, requests.place()
        self._publisher, self._producer, self._settings = publisher, producer, settings
        self._topics, self._letters, self._inbox = topics, letters, inbox
        self._health, self._metrics, self._progress, self._published = health, metrics, progress, published
        self._position: Position | None = None
        self._direct: DirectEvents | None = None
        self._ends: DirectEvents | CountedEnds | None = None
        self._sent_at: float | None = None
        self._sent_last = 0.0
        self._sent = self._sent_bytes = 0
        self._count: Counter[tuple[str, bool]] = Counter()

    def open(self, direct: DirectEvents | None) -> None:
        """Once the producer is open; `direct` publishes what needs no transaction. TransientError."""
        if direct is not None:
            direct.open()
        self._direct = direct
        self._ends = direct or counted_ends(self._topics, self._settings)

    @property
    def _due_at(self) -> float | None:
        """When the position is to be stored (monotonic seconds); None if it covers all that was published."""
        if (since := self._publisher.open_since) is not None:
            return since + _COMMIT_AFTER
        if self._sent_at is None:
            return None
        if self._sent > _MOST or self._sent_bytes > _MOST_BYTES:
            return 0.0
        return min(self._sent_at + _STORE_AFTER, self._sent_last + _QUIET)

    def time_left(self) -> float:
        """Seconds until the position is to be stored; where there is nothing to store, how soon a stop is noticed."""
        due = self._due_at
        return _IDLE if due is None else max(0.0, due - time.monotonic())

    def gather(self) -> None:
        """Waits a moment where events were sent just now, so that the next batch has all that comes meanwhile."""
        if (left := self._sent_last + _APART - time.monotonic()) > 0:
            time.sleep(left)

    def poll(self) -> None:
        """Lets Kafka's clients run their callbacks. TransientError for what could not be delivered."""
        self._publisher.poll()
        if self._direct is not None:
            self._direct.poll()

    def check(self) -> None:
        """Compares the topics with what was published, which is complete then. TransientError."""
        self.commit()
        facts = self._topics.check()
        if self._ends is not None and self._publisher.open_since is None:
            self._ends.compare(facts)

    def close(self) -> None:
        """Gives up what is not committed."""
        if self._direct is not None:
            self._direct.close()
        self._publisher.close()

    def add(self, batch: Batch) -> None:
        """Publishes a batch, or puts it and its position into the transaction in progress. TransientError."""
        for deletion in batch.sweeps:
            self._store()  # the stale records are read from the topic: what came before must be on it
            self._delete_stale(deletion)
        written = self._written(batch.changes, is_historical=batch.copied is not None, delivered=batch.delivered)
        if self._direct is not None:
            if self._direct.is_behind:
                if self._publisher.open_since is not None:
                    self._store()  # at that position this batch is still behind it
                self._take_versions(written)
            written.keep(self._direct.unpublished(written.messages))
            self._direct.passed(batch.position)
            if self._direct.takes(batch, written.messages) and not self._needs_transaction(written):
                self._send(self._direct, written, batch.position)
                return
        self._position, self._place = batch.position, self._requests.place()
        self._letters.close_former(self._publisher)
        self._add_changes(written)
        self._letters.resolve(batch.resolved, self._publisher)
        for reject in still_rejected(batch):
            self._letters.write(reject, self._publisher)
            self._rejected[reject.data_type] += 1
        if self.asked:
            self._judged.update(batch.resolved, ((one.data_type, one.id) for one in batch.rejects))
        if self._publisher.open_since is None:  # nothing but a new position
            self._publisher.produce(*self._stored(batch.position))
        if batch.copied:
            self._metrics.copied(*batch.copied)
            if self._progress:
                self._progress(*batch.copied)

    def commit_if_due(self, *, at_once: bool) -> None:
        """Commits a transaction `at_once`, or stores the position when that is due. TransientError."""
        due = self._due_at
        is_open = self._publisher.open_since is not None
        if due is not None and ((at_once and is_open) or time.monotonic() >= due):
            self.commit()

    def commit(self) -> None:
        """Stores the position, in the transaction in progress if there is one, and confirms it. TransientError."""
        if (position := self._store()) is not None:
            self._producer.confirm(position)

    def _store(self) -> Position | None:
        """The position that was stored. It isn't confirmed while a batch waits that was read before.

        That batch's position says what was confirmed by then, and an unknown move of a PostgreSQL slot is a lost one.
        """
        position, since = self._position, self._sent_at or self._publisher.open_since
        if position is None or since is None:
            return None
        if self._direct is not None:
            self._direct.flush()
        self._publisher.produce(*self._stored(position))
        self._publisher.commit()
        if self._ends is not None:
            self._ends.committed()
        self._sent_at, self._sent, self._sent_bytes = None, 0, 0
        self.asked -= self._answered
        self._requests.answered(self._answered | self._judged)
        self._answered.clear()
        self._judged.clear()
        for (data_type, deleted), count in self._count.items():
            self._metrics.published(data_type, **{"deletes" if deleted else "upserts": count})
        if self._count:
            self._published()
        self._record(time.monotonic() - since)
        return position

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
        answered = self._answered | self._judged
        stored = self._topics.stored(self._requests.stored(self._inbox.stored(position), self._place, answered))
        if self._ends is not None:
            stored = self._ends.stored(stored)
        return position_message(self._topics.names, self._topics.system, stored)

    def _written(
        self,
        changes: Sequence[Change],
        *,
        is_historical: bool = False,
        delivered: Mapping[tuple[str, bytes, int], int] = MappingProxyType({}),
    ) -> _Written:
        """These changes as messages."""
        encoders, topics = self._topics.encoders, self._topics.topics
        captured_at = time.time_ns() // 1000
        is_behind = self._direct is not None and self._direct.is_behind  # what is asked for is read after that
        written = _Written(changes)
        messages, sources = written.messages, written.sources
        for change in changes:
            data_type, id, version, occurred_at, data = change
            try:
                value, headers = encoders[data_type](id, version, occurred_at, captured_at, data)
            except (ValueError, OverflowError) as unfit:
                written.refused.append((change, _out_of_range(change, unfit)))
                continue
            if is_historical:
                headers.append((HISTORICAL, b"1"))
            if delivered and (brought := delivered.get((data_type, id, version))) is not None:
                headers.append((DELIVERED, b"%d" % brought))
            if self.asked and not is_behind and (data_type, id) in self.asked:
                self._answered.add((data_type, id))
                written.is_asked = True
                headers.append((REREAD, b"1"))
            messages.append((topics[data_type], id, value, headers))
            self._bytes[data_type] += len(value)
            sources.append(change)
            if data is None:
                tombstone = [item for item in headers if item[0] in ON_TOMBSTONES]
                messages.append((topics[data_type], id, None, tombstone))
                sources.append(change)
        return written

    def _needs_transaction(self, written: _Written) -> bool:
        """Whether dead letters, or a person's request, go with these events."""
        letters = self._letters
        return bool(written.refused or written.is_asked or letters.has_former or letters.concern(written.changes))

    def _send(self, direct: DirectEvents, written: _Written, position: Position) -> None:
        """Publishes events at once; the position is stored later."""
        if self._publisher.open_since is not None:
            self._store()
        direct.send(written.messages)
        self._position, self._place = position, self._requests.place()
        self._sent_last = time.monotonic()
        self._sent_at = self._sent_at or self._sent_last
        self._sent += len(written.messages)
        self._sent_bytes += sum(len(value) for _, _, value, _ in written.messages if value is not None)
        self._published_changes(written)

    def _add_changes(self, written: _Written) -> None:
        """Puts events into the transaction in progress."""
        if not written.changes:
            return
        if self._direct is not None:
            self._direct.flush()
        self._letters.supersede(written.changes, self._publisher)
        for change, error in written.refused:  # after that, which would close their letters
            self._reject(change, error)
        messages = written.messages
        unfit = self._publisher.produce_all(messages)
        for place, error in unfit:
            self._reject(written.sources[place], error)
        if self._ends is not None:
            places = {place for place, _ in unfit}
            self._ends.added([one for place, one in enumerate(messages) if place not in places] if places else messages)
        self._published_changes(written)

    def _take_versions(self, written: _Written) -> None:
        """These versions are on the topics, or will be."""
        if written.sources:
            newest = max(map(version_of, written.sources))
            for data_type in set(map(data_type_of, written.sources)):
                self._topics.published(data_type, newest)

    def _published_changes(self, written: _Written) -> None:
        self._take_versions(written)
        deletes = Counter(change.data_type for change in written.changes if change.data is None)
        for data_type, count in Counter(map(data_type_of, written.changes)).items():
            self._count[data_type, False] += count - deletes[data_type]
            self._count[data_type, True] += deletes[data_type]

    def _reject(self, change: Change, error: PermanentError) -> None:
        reject = RejectedRecord(change.data_type, change.id, change.version, change.occurred_at, b"", error)
        self._letters.write(reject, self._publisher)

    def _delete_stale(self, deletion: StaleRecordDeletion) -> None:
        refused = self._letters.open_of(deletion.data_type)
        spared = refused if deletion.spares_rejected else ()
        if not deletion.spares_rejected:  # rows that couldn't be published are gone, too
            self._letters.resolve([(deletion.data_type, id) for id in refused], self._publisher)
        deleted = 0
        topic = self._topics.names.topic(deletion.data_type)
        facts = self._topics.facts()
        ends = facts[topic].ends if topic in facts else ()
        for chunk in stale_deletes(self._settings, topic, deletion, spared, ends):
            self._add_changes(self._written(chunk))
            self._health.beat()
            deleted += len(chunk)
        older = self._letters.older(deletion.data_type, deletion.version)
        if deletion.spares_rejected and older and isinstance(self._producer, SupportsRefetch):
            self._producer.reread(deletion.data_type, older)  # refused before the snapshot and not by it: gone, perhaps
        _log.info("%s: %d stale records of %s deleted", self._topics.system, deleted, deletion.data_type)


def _out_of_range(change: Change, error: Exception) -> PermanentError:
    """A change whose version or time no event can hold, whatever connector made it."""
    return PermanentError(
        f"version {change.version} and time {change.occurred_at} (microseconds since 1970) don't fit into an event:"
        f" {error}; fix the record's update time at the source",
        reason="not canonical",
    )
