"""The loop that every consumer shares: messages in, one applied batch out, offsets committed after the target's commit.

It owns offsets, retries, dead letters, metrics and shutdown; a connector knows no Kafka. While the target can't be
reached, or has not finished a batch, the partitions are paused and the batch is kept: order holds, the group sees us
alive, nothing is skipped.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka import Consumer as KafkaConsumer

from sorbus.abilities import SupportsHealthCheck, SupportsVersions
from sorbus.bus.deserialize import DecodedBatch, decode_batch, occurred
from sorbus.bus.kafka import (
    admin,
    as_error,
    group_consumer,
    headers_of,
    idempotent_producer,
    kafka_errors,
    leave,
    offset_of,
    spot_of,
)
from sorbus.bus.letters import Letters
from sorbus.bus.names import Names
from sorbus.bus.reachable import Reachable
from sorbus.bus.schema_resolver import SchemaResolver
from sorbus.connector import BoundFlow, Consumer, Delivery, RejectedDelivery, consumer_connector
from sorbus.consumers.escalation import EscalationTimer
from sorbus.consumers.read_positions import ReadPositions
from sorbus.consumers.stale_events import StaleEvents
from sorbus.consumers.waiting import FlowWaiting
from sorbus.deadletter import LETTER
from sorbus.errors import AuthError, PermanentError, TransientError, Undecided, Unfinished
from sorbus.mapfile.timing import Timing, parse_timing
from sorbus.privacy.errors import flow_privacy
from sorbus.settings import Settings
from sorbus.telemetry.health import Health
from sorbus.telemetry.metrics import ConsumerMetrics
from sorbus.telemetry.stop import Stop

BATCH, _FIRST = 10_000, 500
_QUICK, _SLOW = 2.0, 10.0
_SOONEST, _CHECK_EVERY = 0.02, 5.0
# A topic that is still to be made, and a batch so slow that the group went on without us: the next poll joins again.
_PASSING = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._MAX_POLL_EXCEEDED}
_log = logging.getLogger(__name__)
T = TypeVar("T")
Spot = tuple[str, int]


class Stopped(Exception):
    """Asked to stop while a batch could not be delivered; it stays uncommitted and comes again."""


class ConsumeLoop:
    """Delivers one flow until asked to stop."""

    def __init__(
        self,
        make: Callable[[], Consumer],
        flow: BoundFlow,
        settings: Settings,
        *,
        health: Health,
        metrics: ConsumerMetrics,
        stop: Stop,
        batch: int = BATCH,
    ) -> None:
        self._make, self._flow, self._settings, self._batch = make, flow, settings, batch
        self._names = Names(flow.system.topic_prefix)
        self._topic = self._names.topic(flow.flow.data_type)
        self._requeue = self._names.requeue(flow.flow.id)
        self._timing: Timing = parse_timing(flow.flow.timing)
        self._health, self._metrics, self._stop = health, metrics, stop
        self._book = SchemaResolver(settings, self._names, [flow.schema])
        resources = consumer_connector(flow.system.system.kind).resources_of(flow.options)
        self._privacy = flow_privacy(flow, self._book.schema, resources)
        self._target: Consumer | None = None
        self._most = min(batch, _FIRST)
        self._kafka: KafkaConsumer | None = None
        producer = idempotent_producer(settings, f"letters-{flow.flow.id}")
        self._letters = Letters(producer, self._names, flow, self._privacy)
        self._letters_are_known = False
        self._waiting = FlowWaiting(flow, self._privacy)
        self._patience = EscalationTimer(flow)
        goes_on = flow.flow.on_lost_events == "reread"
        self._places = ReadPositions(admin(settings), flow.flow.id, self._topic, goes_on=goes_on)
        known = flow.flow.id, flow.flow.data_type, flow.system.name, self._topic
        self._stale = StaleEvents(*known, health, metrics)
        self._offsets: dict[Spot, int] = {}
        self._part = 0
        self._trouble_since: float | None = None
        self._drained: set[Spot] = set()
        self._due: datetime | None = None
        self._asked_at = time.monotonic()
        self._kafka_is(f"Kafka has not answered yet at {settings.kafka}")

    def run(self) -> None:
        """Until stopped. Transient faults are retried for ever; AuthError, LostPosition and MapError end it."""
        group = self._names.group(self._flow.flow.id)
        reachable = Reachable(self._settings.kafka, self._kafka_is, group=group)
        kafka = self._kafka = group_consumer(self._settings, group, reachable)
        try:
            with kafka_errors(f"subscribing flow {self._flow.flow.id}"):
                kafka.subscribe(
                    [self._topic, self._requeue], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost
                )
            self._persistently(self._open_target)
            self._health.ready()
            _log.info("delivering %s to %s", self._flow.flow.data_type, self._flow.system.name)
            self._persistently(self._waiting.open)
            while not self._stop.is_set():
                self._health.beat()
                self._wait_until_due()
                messages = self._take([])
                due = self._persistently(partial(self._waiting.due, max(self._most, _FIRST))) if self._is_time else []
                if messages or due:
                    self._deliver(messages, due)
                    self._asked_at = time.monotonic()
                elif time.monotonic() - self._asked_at >= _CHECK_EVERY:
                    self._persistently(self._check_target)
                    self._asked_at = time.monotonic()
                self._commit(wait=False)
        except Stopped:
            _log.info("stopped while the target was unreachable; uncommitted events will be redelivered")
        finally:
            self._close()

    def _take(self, held: Sequence[Message]) -> list[Message]:
        """`held` and what has arrived, without that of partitions that lost events: those begin again."""
        messages = [*held, *(self._poll() if len(held) < self._batch else [])]
        if again := self._persistently(self._places.check):
            self._from_beginning(again)
            messages = [message for message in messages if spot_of(message) not in again]
        return messages

    def _poll(self) -> list[Message]:
        """What has arrived: wakes at the first message, then takes what is there."""
        assert self._kafka is not None
        with kafka_errors("consuming"):
            first: list[Message] = self._kafka.consume(1, 0.5)
            if not first:
                return []
            return first + self._kafka.consume(self._most - 1, 0.004) if self._most > 1 else first

    @property
    def _is_time(self) -> bool:
        return self._due is None or datetime.now(UTC) >= self._due

    def _kafka_is(self, trouble: str | None) -> None:
        self._health.block("kafka", trouble) if trouble else self._health.unblock("kafka")

    def _deliver(self, messages: Sequence[Message], due: Sequence[Message]) -> None:
        """`due` come from the waiting room, not from Kafka: they have no offset to be moved.

        Where only more records can show whose fault it is that these don't land, those that come are taken along.
        """
        while True:
            try:
                self._deliver_once(messages, due)
            except Undecided:
                self._resume()
                messages = self._take(messages)
                continue
            if self._trouble_since is not None:
                self._goes_on()
            return

    def _deliver_once(self, messages: Sequence[Message], due: Sequence[Message]) -> None:
        last: dict[object, Message] = {}
        events: list[Message] = []
        ends: dict[Spot, int] = {}
        for message in messages:
            failure = message.error()
            if failure is None:
                events.append(message)
            elif failure.code() == KafkaError._PARTITION_EOF:
                self._drained.add(spot_of(message))
                ends[spot_of(message)] = offset_of(message)
            elif failure.code() == KafkaError._AUTO_OFFSET_RESET:
                self._from_beginning([self._places.fell_behind(spot_of(message))])
                continue
            elif not failure.retriable() and failure.code() not in _PASSING:
                raise as_error(failure, "consuming")
            else:
                continue
            last[message.topic(), message.partition()] = message
        # The end of a partition lies behind the markers of transactions: committing it leaves no lag.
        offsets = {spot_of(message): offset_of(message) + (message.error() is None) for message in last.values()}
        if events or due:
            self._apply([*events, *due], is_shared=bool(due))
        self._stale.drained(ends)
        self._offsets |= offsets

    def _apply(self, events: Sequence[Message], *, is_shared: bool) -> None:
        """`is_shared`: another member may have some of the records in its hands too."""
        began = time.monotonic()
        requeued = [message for message in events if message.topic() == self._requeue]
        if not self._letters_are_known:
            self._letters_are_known = True
            self._persistently(partial(self._letters.recall, self._settings))
        keeps_deleted = self._flow.flow.deletes == "soft"
        taken = self._persistently(partial(decode_batch, events, self._book, keeps_deleted=keeps_deleted))
        refused = [*taken.refused]
        self._stale.overtaken(taken.overtaken)
        at, alone = 0, is_shared or bool(requeued)
        while at < len(taken.deliveries):  # more than once where the target has a time limit
            some = taken.deliveries[: taken.ahead] if at < taken.ahead else taken.deliveries
            end, refusals = self._persistently(partial(self._apply_once, some, at, alone))
            refused += [(taken.messages[at + refusal.place], refusal.error) for refusal in refusals]
            self._look_for_stale(taken, at, end, {refusal.place for refusal in refusals})
            at = end
        self._file(refused, taken, requeued)
        self._metrics.delivered(
            len(events) - len(refused), seconds=time.monotonic() - began, oldest=occurred(events[0])
        )

    def _look_for_stale(self, taken: DecodedBatch, at: int, end: int, refused: Collection[int]) -> None:
        """Whether the target has newer versions than what came, which a repeat alone explains."""
        target: object = self._target
        if not isinstance(target, SupportsVersions):
            return
        deliveries, messages = taken.deliveries[at:end], taken.messages[at:end]
        try:
            newer = target.newer([one for place, one in enumerate(deliveries) if place not in refused])
        except TransientError as error:  # what landed has landed
            _log.debug("flow %s: the target's versions can't be read: %s", self._flow.flow.id, error)
            return
        self._stale.applied(deliveries, messages, newer)

    def _apply_once(self, deliveries: Sequence[Delivery], at: int, alone: bool) -> tuple[int, list[RejectedDelivery]]:
        """Delivers from place `at` on, all unless the target asked for less at a time; where it ended."""
        target = self._open_target()
        part = deliveries[at : at + self._part] if self._part else deliveries[at:]
        began = time.monotonic()
        try:
            refusals = target.apply(part, alone=alone)
        except (TransientError, AuthError) as error:
            if isinstance(error, TransientError) and error.smaller:
                self._part = self._most = max(1, len(part) // 2)
            self._target = None
            target.close()
            raise self._privacy.fault(error, part) from None
        self._pace(time.monotonic() - began, len(part))
        self._part = 0 if self._part > _FIRST else 2 * self._part
        return at + len(part), refusals

    def _pace(self, seconds: float, count: int) -> None:
        """Keeps batches so small that a target with slow triggers has one in seconds: longer, and we'd look stuck."""
        if seconds > _SLOW:
            self._most = max(1, count // 2)
        elif seconds < _QUICK and count > self._most // 2:
            self._most = min(self._batch, 2 * self._most)

    def _file(
        self,
        refused: Sequence[tuple[Message, PermanentError]],
        taken: DecodedBatch,
        requeued: Sequence[Message],
    ) -> None:
        """What must wait is in its room, and dead letters are on the bus, before the offsets move.

        Letters and waiting states that have landed or are obsolete are closed. What waits is in good hands: an older
        state's letter is obsolete.
        """
        dead = self._persistently(partial(self._waiting.admit, refused))
        bad = {id(message) for message, _ in dead}
        waits = [message for message, _ in refused if id(message) not in bad]
        for message, error in dead:
            letter = self._letters.write(message, error)
            self._metrics.dead_letter(error.reason)
            _log.warning("%s is a dead letter of flow %s: %s", letter.id, self._flow.flow.id, letter.message)
        self._letters.supersede(message for message in taken.messages if id(message) not in bad)
        for message in requeued:
            if id(message) not in bad:
                self._letters.close(dict(headers_of(message)).get(LETTER))
        self._persistently(self._letters.flush)
        self._persistently(partial(self._waiting.settle, taken, waits))

    def _open_target(self) -> Consumer:
        """The target's connector, opened; one whose opening failed is never kept."""
        if self._target is None:
            target = self._make()
            try:
                target.open()
            except BaseException:
                target.close()
                raise
            self._target = target
            self._batch = min(self._batch, getattr(target, "batch", self._batch))
            self._most = min(self._most, self._batch)
        return self._target

    def _check_target(self) -> None:
        """A target that goes away while nothing is to be delivered is noticed too."""
        target = self._open_target()
        if not isinstance(target, SupportsHealthCheck):
            return
        try:
            target.check()
        except (TransientError, AuthError):
            self._target = None
            target.close()
            raise

    def _persistently(self, attempt: Callable[[], T]) -> T:
        """Tries until it goes through, with backoff, holding our place in the group. Stopped when asked to stop.

        What is merely unfinished is called again when it says so: the flow is at work, not in trouble.
        """
        failures, is_held = 0, False
        while True:
            try:
                result = attempt()
            except Unfinished as error:
                is_held = True
                if failures:
                    self._goes_on()
                failures = 0
                _log.debug("%s; going on in %.1f s", error, error.retry_after)
                self._hold(max(error.retry_after, _SOONEST))
                continue
            except TransientError as error:
                failures += 1
                now = time.monotonic()
                self._trouble_since = now if self._trouble_since is None else self._trouble_since
                delay = error.retry_after or min(15.0, 0.25 * 2 ** min(failures, 8)) * (0.5 + random.random() / 2)  # noqa: S311
                self._metrics.retried()
                self._metrics.paused(True)
                called = self._patience.words(now - self._trouble_since)
                self._health.ready(f"{error}{called}", dependency=error.dependency)
                _log.log(
                    logging.ERROR if called else logging.WARNING, "%s%s; trying again in %.1f s", error, called, delay
                )
                self._hold(delay)
                if isinstance(error, Undecided):
                    raise
                continue
            if failures:
                self._goes_on()
            if failures or is_held:
                self._resume()
            return result

    def _goes_on(self) -> None:
        self._trouble_since = None
        self._metrics.paused(False)
        self._health.ready()
        _log.info("flow %s resumed", self._flow.flow.id)

    def _hold(self, seconds: float) -> None:
        """Waits with all partitions paused; polling all the while, or the group would think us dead."""
        assert self._kafka is not None
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if self._stop.is_set():
                raise Stopped
            self._health.beat()
            with kafka_errors("waiting"):
                if assigned := self._kafka.assignment():
                    self._kafka.pause(assigned)
                strays = self._kafka.consume(100, min(left, 0.2))
            self._rewind(strays)

    def _rewind(self, strays: Sequence[Message]) -> None:
        """Messages that slipped in before the pause took hold are read again later."""
        assert self._kafka is not None
        firsts: dict[Spot, int] = {}
        for message in strays:
            failure = message.error()
            if failure is None:
                firsts.setdefault(spot_of(message), offset_of(message))
            elif failure.code() == KafkaError._AUTO_OFFSET_RESET:
                self._from_beginning([self._places.fell_behind(spot_of(message))])
        assigned = {(part.topic, part.partition) for part in self._kafka.assignment()}
        for (topic, partition), offset in firsts.items():
            if (topic, partition) not in assigned:
                continue  # another member's by now
            with kafka_errors("rewinding"):
                self._kafka.seek(TopicPartition(topic, partition, offset))

    def _from_beginning(self, spots: Sequence[Spot]) -> None:
        """Events were lost: what the topic holds is read again."""
        assert self._kafka is not None
        assigned = {(part.topic, part.partition) for part in self._kafka.assignment()}
        for spot in assigned.intersection(spots):
            self._offsets.pop(spot, None)
            with kafka_errors("beginning again"):
                self._kafka.incremental_unassign([TopicPartition(*spot)])  # seeking fails before the first fetch
                self._kafka.incremental_assign([TopicPartition(*spot, OFFSET_BEGINNING)])

    def _resume(self) -> None:
        assert self._kafka is not None
        with kafka_errors("resuming"):
            self._kafka.resume(self._kafka.assignment())

    def _wait_until_due(self) -> None:
        """For flows that are not real-time: once everything is read, wait for the next time."""
        if self._timing.is_real_time:
            return
        now = datetime.now(UTC)
        self._due = self._timing.next_after(now) if self._due is None else self._timing.still_due(self._due, now)
        if self._due is not None and now < self._due:
            self._commit(wait=False)
            try:
                self._hold(min(1.0, (self._due - now).total_seconds()))
            except Stopped:
                return
            return
        assert self._kafka is not None
        self._resume()
        assigned = {(part.topic, part.partition) for part in self._kafka.assignment()}
        if assigned and assigned <= self._drained:
            self._drained.clear()
            self._due = self._timing.next_after(now)

    def _commit(self, *, wait: bool) -> None:
        if self._kafka is None or not (self._offsets or self._stamp_again()):
            return
        # A batch that waited long may hold partitions that are another member's by now, further on than we were.
        assigned = {(part.topic, part.partition) for part in self._kafka.assignment()}
        offsets = [self._places.stamped(spot, offset) for spot, offset in self._offsets.items() if spot in assigned]
        self._offsets = {}
        if not offsets:
            return
        try:
            if wait:
                self._kafka.commit(offsets=offsets, asynchronous=False)
            else:
                self._kafka.commit(offsets=offsets, asynchronous=True)
        except KafkaException as error:
            # Not lost: the same events come again and change nothing.
            _log.warning("offsets could not be committed: %s", error)

    def _stamp_again(self) -> bool:
        """An idle flow's offsets are committed now and then, to show that the group is still active."""
        assert self._kafka is not None
        if not self._places.is_stamp_due:
            return False
        with kafka_errors("looking where we are"):
            at = self._kafka.position(self._kafka.assignment())
        self._offsets = {(part.topic, part.partition): part.offset for part in at if part.offset >= 0}
        return bool(self._offsets)

    def _assigned(self, kafka: KafkaConsumer, partitions: list[TopicPartition]) -> None:
        kafka.incremental_assign(self._places.begin(kafka, partitions))
        kafka.resume(partitions)  # librdkafka keeps a pause when partitions are lost; `_hold` pauses again
        self._kafka_is(None)
        self._letters_are_known = False  # the member that had them may have written some

    def _revoked(self, _: KafkaConsumer, partitions: list[TopicPartition]) -> None:
        self._commit(wait=True)
        self._drained -= {(part.topic, part.partition) for part in partitions}
        self._places.forget(partitions)

    def _lost(self, _: KafkaConsumer, partitions: list[TopicPartition]) -> None:
        for part in partitions:
            self._offsets.pop((part.topic, part.partition), None)
        self._places.forget(partitions)

    def _close(self) -> None:
        leave(self._leave)
        if self._target is not None:
            self._target.close()

    def _leave(self) -> None:
        assert self._kafka is not None
        self._commit(wait=True)
        self._kafka.close()
