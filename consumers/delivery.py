"""Delivering one batch: decoded, applied in the parts that the target bears, and what it refused filed."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping, Sequence
from functools import partial

from confluent_kafka import Message

from sorbus.abilities import DetectsConflicts, SupportsSilence
from sorbus.bus.deserialize import DecodedBatch, decode_batch, is_replayed, occurred
from sorbus.bus.kafka import Partition, headers_of
from sorbus.bus.schema_resolver import SchemaResolver
from sorbus.connector import BoundFlow, Delivery, consumer_connector
from sorbus.consumers.paused_retry import PausedRetry
from sorbus.consumers.rejections import Rejections
from sorbus.consumers.stale_events import StaleEvents
from sorbus.consumers.target import TargetWriter
from sorbus.deadletter import FILED
from sorbus.erased import ErasedRecords
from sorbus.errors import SorbusError
from sorbus.history.recorder import NO_HISTORY, HistoryRecorder
from sorbus.telemetry.metrics import ConsumerMetrics

_log = logging.getLogger(__name__)


class BatchDelivery:
    """One flow's. `requeue` is the topic of its letters that are sent again."""

    def __init__(
        self,
        flow: BoundFlow,
        requeue: str,
        schemas: SchemaResolver,
        target: TargetWriter,
        rejections: Rejections,
        retry: PausedRetry,
        stale: StaleEvents,
        metrics: ConsumerMetrics,
        erased: ErasedRecords,
        history: HistoryRecorder = NO_HISTORY,
    ) -> None:
        connector = consumer_connector(flow.system.system.kind)
        is_silent = isinstance(connector, SupportsSilence) and connector.can_be_silent(flow)
        self._marks = is_silent or (isinstance(connector, DetectsConflicts) and connector.compares)
        self._history, self._data_type = history, flow.flow.data_type
        self._keeps_deleted = flow.flow.deletes == "soft"
        self._requeue, self._schemas, self._target = requeue, schemas, target
        self._rejections, self._retry, self._stale, self._metrics = rejections, retry, stale, metrics
        self._erased = erased
        self._decoded: tuple[list[Message], DecodedBatch] | None = None
        self._had: tuple[int, Mapping[bytes, int]] = 0, {}
        """Of the last part of a batch: the target's session, and the versions that it had."""

    def deliver(self, events: Sequence[Message], *, is_shared: bool) -> None:
        """Retries until all of it is applied or filed. `is_shared`: another member may have some of the records too.

        Stopped; AuthError, MapError; Undecided: call it again with more events.
        """
        began = time.monotonic()
        requeued = [message for message in events if message.topic() == self._requeue]
        if notices := {id(message) for message in requeued if _is_notice(message)}:
            self._rejections.unload()
            events = [message for message in events if id(message) not in notices]
            requeued = [message for message in requeued if id(message) not in notices]
        self._rejections.load()
        if not (events := self._erased.without_known(events)):
            return
        decoded, self._decoded = self._decoded, None
        taken = decoded[1] if decoded and decoded[0] == events else self._retry.run(partial(self._decode, events))
        refused = [*taken.refused]
        self._stale.overtaken(taken.overtaken)
        at, alone = 0, is_shared or bool(requeued)
        replayed = [alone and is_replayed(message) for message in taken.messages]
        while at < len(taken.deliveries):  # more than once where the target has a time limit
            left = taken.deliveries[at : _end(at, taken.ahead, replayed)]
            count, rejected = self._retry.run(partial(self._target.apply, left, alone=alone, again=replayed[at]))
            more = left[:count] if at + count < len(taken.deliveries) else []
            if self._went_back(more, is_first=at == 0):
                at, refused = 0, [*taken.refused]
                continue
            refused += [(taken.messages[at + one.place], one.error) for one in rejected]
            self._look_for_stale(taken, at, at + count, {one.place for one in rejected})
            at += count
        dead = self._rejections.file(refused, taken, requeued)
        self._count(events, taken, refused=len(refused), dead=dead, seconds=time.monotonic() - began)
        self._metrics.delivered(
            len(events) - len(refused), seconds=time.monotonic() - began, oldest=occurred(events[0])
        )

    def decode_ahead(self, messages: Sequence[Message]) -> None:
        """Decodes what may be the next batch, in another thread while this one waits for the target."""
        events = [message for message in messages if message.error() is None]
        try:
            self._decoded = events, self._decode(events)
        except SorbusError as error:  # it is met again when the batch's turn has come
            _log.debug("not decoded ahead: %s", error)

    def _went_back(self, applied: Sequence[Delivery], *, is_first: bool) -> bool:
        """Whether the target was found in an earlier state since a part of the batch was applied, `applied` of which
        are the last before another part: then it may lack the parts before. Offsets say nothing of them yet.
        """
        session, (before, had) = self._target.session, self._had
        if not is_first and session != before and self._retry.run(partial(self._target.lacks, had)):
            return True
        if applied and self._target.keeps_progress:
            asked = [(one.id, one.version) for one in applied]
            found = self._retry.run(partial(self._target.versions, asked))
            self._had = session, found
            return self._target.session != session  # it was put back before it could be asked, maybe
        return False

    def _decode(self, events: Sequence[Message]) -> DecodedBatch:
        return decode_batch(events, self._schemas, keeps_deleted=self._keeps_deleted, marks=self._marks)

    def _count(
        self, events: Sequence[Message], taken: DecodedBatch, *, refused: int, dead: int, seconds: float
    ) -> None:
        """For the flow's history: each event of the batch is in one of the counts, but for `linked` and `filtered`."""
        done = self._target.outcomes()
        if done is None:
            landed = len(taken.deliveries) - (refused - len(taken.refused))
            done = {"written": landed}
        older = max(
            0, len(events) - len(taken.deliveries) - len(taken.refused)
        )  # overtaken within the batch, tombstones
        counts = {**done, "skipped": done.get("skipped", 0) + older}
        if outside := done.get("filtered"):
            self._metrics.filtered(outside)
        size = sum(map(len, events))
        self._history.add(self._data_type, **counts, refused=dead, deferred=refused - dead, bytes=size, seconds=seconds)

    def drained(self, ends: Mapping[Partition, int]) -> None:
        """Partitions were read to their end, before these offsets."""
        self._stale.drained(ends)

    def reassigned(self) -> None:
        """Partitions came, maybe from another member."""
        self._rejections.unload()

    def _look_for_stale(self, taken: DecodedBatch, at: int, end: int, refused: Collection[int]) -> None:
        """Whether the target has newer versions than what came, which a repeat alone explains."""
        deliveries, messages = taken.deliveries[at:end], taken.messages[at:end]
        landed = [one for place, one in enumerate(deliveries) if place not in refused] if refused else deliveries
        newer = self._target.newer(landed)
        if newer is not None:
            self._stale.applied(deliveries, messages, newer)


def _is_notice(message: Message) -> bool:
    """Whether it only says that another process has filed something."""
    return message.value() is None and any(name == FILED for name, _ in headers_of(message))


def _end(at: int, ahead: int, replayed: Sequence[bool]) -> int:
    """Where the deliveries from `at` on end that can be applied in one call."""
    end = ahead if at < ahead else len(replayed)
    return next((place for place in range(at, end) if replayed[place] != replayed[at]), end)
