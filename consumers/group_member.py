"""A flow's member of its Kafka consumer group: what it is assigned, where it reads, what it has committed."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka import Consumer as KafkaConsumer

from sorbus.abilities import Progress
from sorbus.bus.kafka import Partition, as_error, group_consumer, kafka_errors, leave, offset_of, partition_of
from sorbus.bus.names import Names
from sorbus.bus.reachable import Reachable
from sorbus.connector import BoundFlow
from sorbus.consumers.prefetch import Prefetch
from sorbus.consumers.read_positions import ReadPositions
from sorbus.errors import AuthError, SorbusError
from sorbus.settings import Settings
from sorbus.telemetry.health import Health
from sorbus.telemetry.stop import Stop

# A topic that is still to be made, and a batch so slow that the group expelled us: the next poll joins again.
_PASSING = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._MAX_POLL_EXCEEDED}
_TIMEOUT = 10.0
_MANY, _PATIENCE = 100, 0.004
_IDLE = 1.0
_COMMIT_EVERY = 0.1
"""Seconds between commits of offsets: each costs Kafka as much as an event, and what comes again changes nothing."""
_log = logging.getLogger(__name__)


class Stopped(Exception):
    """Asked to stop while a batch could not be delivered; it stays uncommitted and comes again."""


class PolledBatch(NamedTuple):
    """Events, without what Kafka says between them: the offsets after them, and where partitions ended.

    `written`: when each partition's last message was, or when it was seen that none is left; seconds since 1970.
    """

    events: list[Message]
    offsets: dict[Partition, int]
    ends: dict[Partition, int]
    written: dict[Partition, float]


class GroupMember:
    """Reads one flow's topics: its data type's, and the letters that were requeued. It commits what has landed."""

    def __init__(self, flow: BoundFlow, settings: Settings, health: Health, stop: Stop) -> None:
        names = Names(flow.system.topic_prefix)
        self._flow, self._health, self._stop = flow.flow.id, health, stop
        self.events = names.topic(flow.flow.data_type)
        self.requeue = names.requeue(self._flow)
        self._group = group = names.group(self._flow)
        reachable = Reachable(settings.kafka, partial(health.report, "kafka"), group=group)
        self._kafka = group_consumer(settings, group, reachable)
        self._prefetch = Prefetch(self._kafka.consume)
        self._positions = ReadPositions(settings, names, flow)
        self.deferred = self._positions.deferred
        """Partition -> how often its records were deferred; committed with its offsets."""
        self._are_many = False
        self._committed_at = 0.0
        self._offsets: dict[Partition, int] = {}
        self._written: dict[Partition, float] = {}
        self._idle: dict[Partition, float] = {}
        """Partitions that were seen to hold nothing more, when, and the target has still to note that."""
        self.is_noted = False
        """Whether the target notes how far it is: no offset is committed before it has."""
        self.before_waiting: Callable[[], None] = lambda: None
        """Called before what has landed is committed since nothing follows for a while, or another member does."""
        self._reached: dict[Partition, int] = {}
        """How far the flow is in what it is assigned, committed or not."""
        self._drained: set[Partition] = set()
        self._begun: dict[Partition, int] = {}
        self._ends: dict[Partition, int] = {}
        """Where a partition ended when it was last read to its end, unless a message has come since."""
        self._on_assigned: Callable[[], None] = lambda: None
        health.report("kafka", f"Kafka has not answered yet at {settings.kafka}")

    def join(self, on_assigned: Callable[[], None]) -> None:
        """Asks for partitions; `on_assigned` is called when some come, maybe from another member."""
        self._on_assigned = on_assigned
        with kafka_errors(f"subscribing flow {self._flow}"):
            self._client.subscribe(
                [self.events, self.requeue], on_assign=self.assigned, on_revoke=self._revoked, on_lost=self._lost
            )

    def poll(self, most: int) -> list[Message]:
        """What has arrived: wakes at the first message, then takes what is there."""
        with kafka_errors("consuming"):
            client = self._client
            found = self._prefetch.take(most) or client.consume(1, _COMMIT_EVERY if self._offsets else _IDLE)
            if found and most > len(found):
                # Where many come, a little patience makes few large batches of them; a single change doesn't wait.
                found += client.consume(most - len(found), _PATIENCE if self._are_many else 0.0)
            self._are_many = len(found) > _MANY
            return found

    def prefetch(self, most: int, on_full: Callable[[Sequence[Message]], None]) -> None:
        """Has the next messages fetched in a thread until Kafka's client is used here again; see `Prefetch`."""
        self._prefetch.begin(most, on_full)

    def lost_events(self) -> dict[Partition, int]:
        """The partitions that lost events, and where to `restart` them. LostPosition, TransientError."""
        return dict.fromkeys(self._positions.check(), OFFSET_BEGINNING)

    def sort(self, messages: Sequence[Message]) -> PolledBatch:
        """Tells events from what Kafka says between them. LostPosition, TransientError, AuthError."""
        last: dict[Partition, Message] = {}
        batch = PolledBatch([], {}, {}, {})
        for message in messages:
            failure, at = message.error(), partition_of(message)
            if failure is None:
                batch.events.append(message)
            elif failure.code() == KafkaError._PARTITION_EOF:
                self._drained.add(at)
                self._ends[at] = batch.ends[at] = offset_of(message)
            elif failure.code() == KafkaError._AUTO_OFFSET_RESET:
                self.restart({self._positions.fell_behind(at): OFFSET_BEGINNING})
                continue
            elif not failure.retriable() and failure.code() not in _PASSING:
                raise self._as_error(message, failure)
            else:
                continue
            last[at] = message
        # The end of a partition lies behind the markers of transactions: committing it leaves no lag.
        for at, message in last.items():
            if is_event := message.error() is None:
                self._ends.pop(at, None)
                self._positions.has_read(at, message)
            batch.offsets[at] = offset_of(message) + is_event
            batch.written[at] = message.timestamp()[1] / 1000 if is_event else time.time()
        return batch

    def landed(self, batch: PolledBatch) -> None:
        """All before its offsets is in the target, or filed: they can be committed."""
        for partition in batch.offsets:
            self._idle.pop(partition, None)
        self._offsets |= batch.offsets
        self._written |= batch.written
        # A batch that waited long may hold partitions that are another member's by now.
        self._reached |= {at: offset for at, offset in batch.offsets.items() if at in self._reached}

    @property
    def is_commit_due(self) -> bool:
        """Whether offsets weren't committed a moment ago."""
        return time.monotonic() - self._committed_at >= _COMMIT_EVERY

    def commit(self, *, wait: bool) -> None:
        """Commits what has landed. Kafka's refusal is no fault: the same events come again and change nothing."""
        if not wait and not self.is_commit_due:
            return
        has_read = bool(self._offsets) or self._repeat_offsets()
        if not self._offsets:
            return
        # A batch that waited long may hold partitions that are another member's by now, further on than we were.
        assigned = self._assignment()
        stamped = {
            at: self._positions.stamped(at, offset, self._written[at])
            for at, offset in self._offsets.items()
            if at in assigned
        }
        self._offsets = {
            at: offset for at, offset in self._offsets.items() if at in stamped and self._is_early(at, offset)
        }
        self._written = {at: self._written[at] for at in self._offsets}
        offsets = [part for at, part in stamped.items() if at not in self._offsets]
        if not offsets:
            return
        self._committed_at = time.monotonic()
        try:
            if wait:
                self._client.commit(offsets=offsets, asynchronous=False)
            else:
                self._client.commit(offsets=offsets, asynchronous=True)
            if has_read:
                self._positions.committed()
        except KafkaException as error:
            _log.warning("offsets could not be committed: %s", error)

    def hold(self, seconds: float) -> None:
        """Waits with all partitions paused; polling all the while, or the group would think us dead. Stopped."""
        self.before_waiting()
        self.commit(wait=False)
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if self._stop.is_set():
                raise Stopped
            self._health.beat()
            with kafka_errors("waiting"):
                if assigned := self._client.assignment():
                    self._client.pause(assigned)
                strays = self._client.consume(100, min(left, 0.2))
            self.rewind(strays)

    def resume(self) -> None:
        """Reads on after `hold`."""
        with kafka_errors("resuming"):
            self._client.resume(self._client.assignment())

    def restart(self, places: Mapping[Partition, int]) -> None:
        """What the topics hold is read again from these offsets on."""
        self._prefetch.drop(dict.fromkeys(places, 0))
        for partition in self._assignment().intersection(places):
            self._reached[partition] = max(0, places[partition])
            for known in (self._offsets, self._ends, self._idle):
                known.pop(partition, None)
            with kafka_errors("beginning again"):
                self._client.incremental_unassign([TopicPartition(*partition)])  # seeking fails before the first fetch
                self._client.incremental_assign([TopicPartition(*partition, places[partition])])

    def take_drained(self) -> bool:
        """Whether all its partitions were read to their end since this was last so."""
        assigned = self._assignment()
        # Kafka's client says only once that a partition has ended: maybe before, while they were paused.
        unsaid = assigned - self._drained
        if not assigned or not unsaid <= self._ends.keys():
            return False
        with kafka_errors("asking where partitions end"):
            for partition in unsaid:
                if self._client.get_watermark_offsets(TopicPartition(*partition), _TIMEOUT)[1] != self._ends[partition]:
                    return False
        self._drained.clear()
        return True

    def forget_drained(self) -> None:
        """From now on only what is read to its end again counts for `take_drained`."""
        self._drained.clear()
        with kafka_errors("reading again"):
            self.rewind(self._prefetch.take())

    @property
    def begun(self) -> dict[Partition, int]:
        """The partitions that have come and weren't `looked_at`, with the offsets where the group was."""
        return dict(self._begun)

    def looked_at(self, partitions: Collection[Partition]) -> None:
        """What waits in these is known."""
        for partition in partitions:
            self._begun.pop(partition, None)

    def committed(self) -> dict[Partition, int]:
        """Where the group is in its partitions, all that has landed committed. TransientError, AuthError."""
        self.before_waiting()
        self.commit(wait=True)
        with kafka_errors("asking where the group is"):
            found = self._client.committed(self._client.assignment(), _TIMEOUT)
        return {(part.topic, part.partition): max(part.offset, OFFSET_BEGINNING) for part in found}

    def leave(self) -> None:
        """Commits, and leaves the group."""
        leave(self._commit_and_close)

    def assigned(self, kafka: KafkaConsumer, partitions: list[TopicPartition]) -> None:
        """Partitions that have come: they are read from where the group was."""
        self._prefetch.wait_to_move()
        begun = self._positions.begin(kafka, partitions)
        kafka.incremental_assign(begun)
        for part in begun:
            self._begun[part.topic, part.partition] = part.offset
            self._reached[part.topic, part.partition] = max(0, part.offset)
            self._ends.pop((part.topic, part.partition), None)
            self._idle.pop((part.topic, part.partition), None)
        kafka.resume(partitions)  # librdkafka keeps a pause when partitions are lost; `hold` pauses again
        self._health.report("kafka", None)
        self._on_assigned()

    def _revoked(self, _: KafkaConsumer, partitions: list[TopicPartition]) -> None:
        self._prefetch.wait_to_move()
        self.before_waiting()
        self.commit(wait=True)
        gone = {(part.topic, part.partition) for part in partitions}
        self._prefetch.drop(dict.fromkeys(gone, 0))
        self._drained -= gone
        for partition in gone:
            self._offsets.pop(partition, None)  # what the target couldn't note isn't ours to commit any more
            self._reached.pop(partition, None)
        self.looked_at(gone)
        self._positions.forget(partitions)

    def _lost(self, _: KafkaConsumer, partitions: list[TopicPartition]) -> None:
        self._prefetch.wait_to_move()
        self._prefetch.drop({(part.topic, part.partition): 0 for part in partitions})
        for part in partitions:
            for known in (self._offsets, self._reached, self._begun):
                known.pop((part.topic, part.partition), None)
        self._positions.forget(partitions)

    @property
    def _client(self) -> KafkaConsumer:
        """Kafka's client, which nothing else is using."""
        self._prefetch.end()
        return self._kafka

    def _assignment(self) -> set[Partition]:
        return {(part.topic, part.partition) for part in self._client.assignment()}

    def id_of(self, topic: str) -> str:
        """A topic's id in Kafka; "" until it is known."""
        return self._positions.id_of(topic)

    def reached(self) -> dict[Partition, int]:
        """How far the flow is in its partitions, committed or not."""
        return dict(self._reached)

    def noted(self) -> dict[Partition, int]:
        """Up to where the target is known to have noted that it has what they hold."""
        return dict(self._positions.noted)

    def to_note(self) -> dict[Partition, Progress]:
        """What the target is to note: how far it is, and how late that is; of idle partitions now and then too."""
        found = {}
        for at, offset in self._reached.items():
            if at in self._idle or self._positions.noted.get(at, -1) < offset:
                until = self._positions.read_until(at, self._idle.get(at, self._written.get(at, 0.0)))
                found[at] = Progress(offset, until)
        return found

    def note(self, noted: Mapping[Partition, Progress]) -> None:
        """The target has noted these."""
        for partition, (offset, _) in noted.items():
            self._positions.noted[partition] = offset
            self._idle.pop(partition, None)

    def goes_back(self, found: Mapping[Partition, Progress | None]) -> dict[Partition, int]:
        """The target has no more than this of these partitions: where to `restart` them."""
        return {partition: self._positions.goes_back(partition, to) for partition, to in found.items()}

    @property
    def unrepeated(self) -> str:
        """What the target lacks and its topic doesn't hold any more, in words; "" if there is none."""
        return self._positions.unrepeated

    @property
    def has_partitions(self) -> bool:
        """Whether it reads any."""
        return bool(self._client.assignment())

    def rewind(self, strays: Sequence[Message]) -> None:
        """Messages that came too early are read again later."""
        firsts: dict[Partition, int] = {}
        for message in strays:
            failure = message.error()
            if failure is None:
                firsts.setdefault(partition_of(message), offset_of(message))
            elif failure.code() == KafkaError._PARTITION_EOF:
                self._ends[partition_of(message)] = offset_of(message)
            elif failure.code() == KafkaError._AUTO_OFFSET_RESET:
                self.restart({self._positions.fell_behind(partition_of(message)): OFFSET_BEGINNING})
            elif isinstance(denied := self._as_error(message, failure), AuthError):  # Kafka's client says so once
                raise denied
        self._prefetch.drop(firsts)  # what was fetched behind them comes again after them
        assigned = self._assignment()
        for partition, offset in firsts.items():
            self._ends.pop(partition, None)
            if partition not in assigned:
                continue  # another member's by now
            with kafka_errors("rewinding"):
                self._client.seek(TopicPartition(*partition, offset))

    def _repeat_offsets(self) -> bool:
        """An idle flow's offsets are committed now and then, to show that all has been read: whether it has.

        Not where Kafka's client is: what it has given us may not have landed. And not where something waits to be read:
        for how long is known from when its partition's offset was committed last.
        """
        if not self._positions.is_stamp_due:
            return False
        try:
            for partition, offset in self._reached.items():
                if self._client.get_watermark_offsets(TopicPartition(*partition), _TIMEOUT)[1] == offset:
                    self._offsets[partition], self._written[partition] = offset, time.time()
                    self._idle[partition] = time.time()
        except KafkaException as error:
            _log.debug("flow %s: where partitions end isn't known: %s", self._flow, error)
        return self._offsets.keys() == self._reached.keys()

    def _is_early(self, partition: Partition, offset: int) -> bool:
        """Whether the target has still to note that it has what comes before an offset."""
        return self.is_noted and self._positions.noted.get(partition, -1) < offset

    def _as_error(self, message: Message, failure: KafkaError) -> SorbusError:
        return as_error(failure, f"reading {message.topic()}" if message.topic() else f"joining group {self._group}")

    def _commit_and_close(self) -> None:
        self.commit(wait=True)
        self._client.close()
