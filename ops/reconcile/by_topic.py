"""Comparing fields that SQL can't bring to the same text: what the topic holds, as delivering it would write it.

The whole topic is read, each event compared as it comes; a record's last event decides. So this proves that the target
has what is on the bus; that the bus has what the owner holds is what checksums prove.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from confluent_kafka import Message

from sorbus.bus.deserialize import decode_batch
from sorbus.bus.kafka import all_partitions, bytes_of, kafka_errors, read_to_end, topic_reader
from sorbus.bus.names import Names
from sorbus.bus.schema_resolver import SchemaResolver
from sorbus.checksums import ExpectedRecords, RecordTexts, TargetChecksumReader
from sorbus.connector import BoundFlow, Consumer, Delivery
from sorbus.errors import MustWait
from sorbus.ops.reconcile.by_checksums import Progress
from sorbus.settings import Settings
from sorbus.waiting.complete import Completing

_BATCH = 5000
MOST_COUNTED = 2_000_000
"""Records up to which it is counted how many the topic holds: each takes about 60 bytes."""


class TopicRecords:
    """A topic in place of the owner: what each record is to be, by its newest event."""

    def __init__(self, flow: BoundFlow, expected: ExpectedRecords, consumer: Consumer, settings: Settings) -> None:
        """`consumer`: the flow's, not opened, for the defaults that it fills in."""
        names = Names(flow.system.topic_prefix)
        self._completing = consumer if isinstance(consumer, Completing) else None
        self._flow, self._expected, self._settings = flow, expected, settings
        self._topic = names.topic(flow.flow.data_type)
        self._book = SchemaResolver(settings, names, [flow.schema])

    def snapshot(self) -> None:
        """Each `records` reads the topic up to its end then."""

    def records(self, ids: Sequence[str]) -> dict[str, RecordTexts]:
        """Those of these records that are to be in the target. TransientError, AuthError."""
        wanted = {id.encode("utf-8", "surrogateescape") for id in ids}
        kept: dict[bytes, Message] = {}
        for batch in self._batches():
            for message in batch:
                key = bytes_of(message.key())
                if key in wanted and message.value() is not None:
                    kept[key] = message
        return self._expected.records(self._deliveries(list(kept.values())))

    def suspects(self, target: TargetChecksumReader, progress: Progress) -> tuple[list[str], int | None]:
        """The records whose last event is not what the target has, and how many of its records were compared.

        None where there are too many to count. Records that it would reject are left out: dead letters.
        """
        suspects: dict[str, None] = {}
        compared: set[int] | None = set()
        events = 0
        for batch in self._batches():
            events += len(batch)
            progress("comparing with the topic", events, events)
            deliveries = self._deliveries(batch)
            expected = self._expected.records(deliveries)
            target.snapshot()
            ids = [one.id.decode("utf-8", "surrogateescape") for one in deliveries]
            there = target.records(ids)
            for id, delivery in zip(ids, deliveries, strict=True):
                if compared is not None:
                    (compared.add if id in expected and id in there else compared.discard)(hash(id))
                    compared = compared if len(compared) <= MOST_COUNTED else None
                if not delivery.deleted and id in expected and id in there and there[id] != expected[id]:
                    suspects[id] = None
                else:
                    suspects.pop(id, None)
        return list(suspects), None if compared is None else len(compared)

    def differing(self, target: TargetChecksumReader, ids: Sequence[str]) -> list[str]:
        """Those of these records that the target has otherwise than their newest event."""
        expected = self.records(ids)
        target.snapshot()
        there = target.records(ids)
        return [id for id in ids if id in expected and id in there and there[id] != expected[id]]

    def _deliveries(self, messages: list[Message]) -> list[Delivery]:
        found = decode_batch(messages, self._book).deliveries
        return found if self._completing is None else [*self._completed(self._completing, found)]

    def _completed(self, completing: Completing, deliveries: Sequence[Delivery]) -> Iterator[Delivery]:
        """With the flow's defaults; incomplete records wait, and aren't to be in the target."""
        for one in deliveries:
            with contextlib.suppress(MustWait):
                yield completing.completed(one)

    def _batches(self) -> Iterator[list[Message]]:
        reader = topic_reader(self._settings, f"reconcile-{self._flow.flow.id}")
        try:
            batch: list[Message] = []
            for message in read_to_end(reader, all_partitions(reader, self._topic)):
                batch.append(message)
                if len(batch) >= _BATCH:
                    yield batch
                    batch = []
            if batch:
                yield batch
        finally:
            with kafka_errors("closing a reader"):
                reader.close()


class TopicSides(NamedTuple):
    """The topic and the target, to be compared like two systems."""

    owner: TopicRecords
    target: TargetChecksumReader
