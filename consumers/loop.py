"""The loop that every consumer shares: messages in, one applied batch out, offsets committed after the target's commit.

It owns offsets, retries, dead letters, metrics and shutdown; a connector knows no Kafka. While the target can't be
reached, or has not finished a batch, the partitions are paused and the batch is kept: order holds, the group sees us
alive, nothing is skipped.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial

from confluent_kafka import Message

from sorbus.bus.controls import shared_controls
from sorbus.bus.kafka import idempotent_producer, partition_of
from sorbus.bus.late_copies import LateCopies
from sorbus.bus.letters import Letters
from sorbus.bus.names import Names
from sorbus.bus.schema_resolver import SchemaResolver
from sorbus.connector import BoundFlow, Consumer, consumer_connector
from sorbus.consumers.batch_size import FIRST, BatchSize
from sorbus.consumers.deferrals import Deferrals
from sorbus.consumers.delivery import BatchDelivery
from sorbus.consumers.group_member import GroupMember, Stopped
from sorbus.consumers.paused_retry import PausedRetry
from sorbus.consumers.prefetch import WORTHWHILE
from sorbus.consumers.rejections import Rejections
from sorbus.consumers.schedule import DeliverySchedule
from sorbus.consumers.stale_events import StaleEvents
from sorbus.consumers.target import TargetWriter
from sorbus.consumers.target_progress import TargetProgress
from sorbus.consumers.waiting import FlowWaiting
from sorbus.drift.watch import has_state
from sorbus.erased import ErasedRecords
from sorbus.errors import Undecided, Unfinished
from sorbus.history.recorder import NO_HISTORY, HistoryRecorder
from sorbus.privacy.errors import flow_privacy
from sorbus.settings import Settings
from sorbus.state.database import State
from sorbus.telemetry.health import Health
from sorbus.telemetry.metrics import ConsumerMetrics
from sorbus.telemetry.stop import Stop
from sorbus.two_way.joined import why_not_joined

BATCH = 10_000
_CHECK_EVERY = 5.0
_log = logging.getLogger(__name__)


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
        history: HistoryRecorder = NO_HISTORY,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        """`clock`: the time by which the flow's times and quiet hours are kept."""
        id, data_type, target = flow.flow.id, flow.flow.data_type, flow.system.name
        names = Names(flow.system.topic_prefix)
        schemas = SchemaResolver(settings, names, [flow.schema])
        resources = consumer_connector(flow.system.system.kind).resources_of(flow.options)
        privacy = flow_privacy(flow, schemas.schema, resources)
        self._flow, self._health, self._stop = flow, health, stop
        self._member = GroupMember(flow, settings, health, stop)
        self._schedule = DeliverySchedule(flow, self._member, shared_controls(settings, names), health, settings, clock)
        self._retry = PausedRetry(self._member, flow, health, metrics, self._schedule.is_held, self._schedule.pause)
        self._size = BatchSize(batch)
        self._target = TargetWriter(make, id, privacy, self._size)
        self._progress = TargetProgress(id, self._target, self._member, health)
        self._waiting = FlowWaiting(flow, privacy)
        self._deferrals = Deferrals(id, self._waiting, self._member, health)
        make_producer = partial(idempotent_producer, settings, f"letters-{id}")
        letters = Letters(make_producer, names, flow, privacy)
        copies = LateCopies(id, self._member.requeue, make_producer)
        self._delivery = BatchDelivery(
            flow,
            self._member.requeue,
            schemas,
            self._target,
            Rejections(id, letters, self._waiting, self._target, self._retry, settings, metrics, copies),
            self._retry,
            StaleEvents(id, data_type, target, self._member.events, health, metrics),
            metrics,
            ErasedRecords(State.of(names.prefix) if has_state(settings) else None, settings, names, data_type),
            history,
        )

    def run(self) -> None:
        """Until stopped. Transient faults are retried for ever; AuthError, LostPosition and MapError end it."""
        try:
            self._member.join(self._delivery.reassigned)
            self._retry.run(self._target.open)
            self._health.ready()
            _log.info("delivering %s to %s", self._flow.flow.data_type, self._flow.system.name)
            self._retry.run(self._waiting.open)
            self._retry.run(self._wait_until_joined)
            self._deliver_until_stopped()
        except Stopped:
            _log.info("stopped while the target was unreachable; uncommitted events will be redelivered")
        finally:
            self._schedule.close()
            self._member.leave()
            self._target.close()

    def _wait_until_joined(self) -> None:
        """Of a two-way flow: until a person has accepted how its system's records are joined."""
        why = why_not_joined(self._flow)
        self._health.note("joining", why)
        if why is not None:
            raise Unfinished(why, retry_after=1.0)

    def _deliver_until_stopped(self) -> None:
        checked_at = time.monotonic()
        while not self._stop.is_set():
            self._health.beat()
            if not self._retry.run(self._schedule.wait):
                self._target.close()  # a pause may last for weeks, and a session holds what it has
                continue
            messages, due = self._poll([]), self._due()
            if messages and not self._schedule.is_time:
                # Quiet hours have begun, or partitions have just come: a pause is heard first.
                self._member.rewind(messages)
                continue
            if messages or due:
                self._deliver(messages, due)
                checked_at = time.monotonic()
            elif time.monotonic() - checked_at >= _CHECK_EVERY:
                if not self._retry.run(self._progress.look):
                    self._retry.run(self._target.check)
                checked_at = time.monotonic()
            self._progress.note()
            self._member.commit(wait=False)
        self._progress.note(at_once=True)

    def _poll(self, held: Sequence[Message]) -> list[Message]:
        """`held` and what has arrived, without that of partitions that lost events, or whose target or state did: those
        are read again.
        """
        messages = [*held, *(self._member.poll(self._size.current) if len(held) < self._size.limit else [])]
        for look in (self._member.lost_events, self._progress.behind, self._deferrals.behind):
            if places := self._retry.run(look):
                self._member.restart(places)
                messages = [message for message in messages if partition_of(message) not in places]
        return messages

    def _prefetch(self) -> None:
        self._target.on_submitted = None
        self._member.prefetch(self._size.current, self._delivery.decode_ahead)

    def _due(self) -> list[Message]:
        """Deferred events to be tried now. They aren't from Kafka: they have no offset to be moved."""
        if not self._schedule.is_time:
            return []
        return self._retry.run(partial(self._waiting.due, max(self._size.current, FIRST)))

    def _deliver(self, messages: Sequence[Message], due: Sequence[Message]) -> None:
        """Where only more records can show whose fault it is that these don't land, those that come are added."""
        while True:
            try:
                batch = self._member.sort(messages)
                if batch.events or due:
                    is_large = len(batch.events) >= WORTHWHILE
                    self._target.on_submitted = self._prefetch if is_large else None
                    self._delivery.deliver([*batch.events, *due], is_shared=bool(due))
            except Undecided:
                self._member.resume()
                messages = self._poll(messages)
                continue
            self._delivery.drained(batch.ends)
            self._member.landed(batch)
            self._retry.recovered()
            return
