"""Comparing fields that SQL can't bring to the same text: what the topic holds, as delivering it would write it.

The whole topic is read, each event compared as it comes; a record's newest version decides. So this proves that the
target has what is on the bus; that the bus has what the owner holds is what checksums prove.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from confluent_kafka import Message

from sorbus.avro.decode import Undecodable
from sorbus.bus.deserialize import decode_batch
from sorbus.bus.kafka import all_partitions, bytes_of, kafka_errors, read_to_end, topic_reader
from sorbus.bus.names import Names
from sorbus.bus.schema_resolver import SchemaResolver
from sorbus.checksums import ExpectedRecords, RecordTexts, TargetChecksumReader
from sorbus.connector import BoundFlow, Consumer, Delivery
from sorbus.errors import MustWait
from sorbus.event import open_frame
from sorbus.ops.reconcile.by_checksums import Progress
from sorbus.settings import Settings
from sorbus.waiting.complete import Completing

_BATCH = 5000
MOST_COUNTED = 2_000_000
"""Records up to which it is counted how many the topic holds: each takes about 60 bytes."""


class TopicSuspects(NamedTuple):
    """Records whose newest event is not what the target has. `undelivered`: the target has an older state of them,
    since their newest one waits or is a dead letter. `compared`: how many, None where there are too many to count.
    """

    differing: list[str]
    undelivered: list[str]
    compared: int | None

    def uncounted(self, records: int, foreign: int) -> str:
        """Why not every one of the target's `records` was compared, `foreign` being its own; "" if it was."""
        if self.compared is None:
            return "whether the topic holds every record: there are too many to count"
        lacking = records - self.compared - foreign - len(self.undelivered)
        if lacking <= 0:
            return ""
        return (
            f"those fields of about {lacking:,} record{'s' * (lacking != 1)} of the target: no event in the topic"
            " says what they are to be"
        )


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
        return self._expected.records(self._deliveries(self._newest(ids))[0])

    def suspects(self, target: TargetChecksumReader, progress: Progress) -> TopicSuspects:
        """What of the topic's records is to be looked at again. TransientError, AuthError."""
        suspects: dict[str, None] = {}
        undelivered: dict[str, None] = {}
        newest: dict[str, int] = {}  # their versions: an older event may come behind
        compared: set[int] | None = set()
        events = 0
        for batch in self._batches():
            events += len(batch)
            progress("comparing with the topic", events, events)
            deliveries, held = self._deliveries(batch)
            expected = self._expected.records(deliveries)
            target.snapshot()
            ids = [_text(one.id) for one in deliveries]
            there = _there(target, [*ids, *held])
            for id in held:
                suspects.pop(id, None)
                undelivered |= {id: None} if id in there else {}
                if compared is not None:
                    compared.discard(hash(id))
            for id, delivery in zip(ids, deliveries, strict=True):
                if newest.get(id, -1) > delivery.version:
                    continue
                newest.pop(id, None)
                if compared is not None:
                    (compared.add if id in expected and id in there else compared.discard)(hash(id))
                    compared = compared if len(compared) <= MOST_COUNTED else None
                if not delivery.deleted and id in expected and id in there and there[id] != expected[id]:
                    suspects[id], newest[id] = None, delivery.version
                else:
                    suspects.pop(id, None)
                if not delivery.deleted and id not in expected and id in there:
                    undelivered[id], newest[id] = None, delivery.version
                else:
                    undelivered.pop(id, None)
        return TopicSuspects(list(suspects), list(undelivered), None if compared is None else len(compared))

    def among(self, target: TargetChecksumReader, ids: Sequence[str]) -> TopicSuspects:
        """Likewise of these records."""
        deliveries, held = self._deliveries(self._newest(ids))
        expected = self._expected.records(deliveries)
        target.snapshot()
        there = _there(target, ids)
        alive = {*held, *(_text(one.id) for one in deliveries if not one.deleted)}
        differing = [id for id in ids if id in expected and id in there and there[id] != expected[id]]
        return TopicSuspects(differing, [id for id in ids if id in alive - expected.keys() and id in there], None)

    def _newest(self, ids: Sequence[str]) -> list[Message]:
        wanted = {id.encode("utf-8", "surrogateescape") for id in ids}
        kept: dict[bytes, tuple[int, Message]] = {}
        for batch in self._batches():
            for message in batch:
                key, frame = bytes_of(message.key()), message.value()
                if key in wanted and frame is not None:
                    known = kept[key][0] if key in kept else -1
                    if (version := _version(frame, known)) >= known:
                        kept[key] = version, message
        return [message for _, message in kept.values()]

    def _deliveries(self, messages: list[Message]) -> tuple[list[Delivery], list[str]]:
        """As the flow would deliver them, and the ids of those that it can't read, or that wait as incomplete."""
        taken = decode_batch(messages, self._book)
        read = {one.id for one in taken.deliveries}
        held = [_text(key) for message, _ in taken.refused if (key := bytes_of(message.key())) not in read]
        if self._completing is None:
            return taken.deliveries, held
        complete: list[Delivery] = []
        for one in taken.deliveries:
            try:
                complete.append(self._completing.completed(one))
            except MustWait:
                held.append(_text(one.id))
        return complete, held

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


def _there(target: TargetChecksumReader, ids: Sequence[str]) -> dict[str, RecordTexts]:
    """The target's records by the topic's ids, those too that its key column spells in another way."""
    there = target.records(ids)
    lacking = [id for id in ids if id not in there]
    spelled = target.spelled(lacking) if lacking else {}
    others = target.records(list(dict.fromkeys(spelled.values()))) if spelled else {}
    return there | {id: others[other] for id, other in spelled.items() if other in others}


def _version(frame: bytes, known: int) -> int:
    """An event's version; `known` of one that can't be read, whose turn it is all the same."""
    try:
        return open_frame(frame).version
    except Undecodable:
        return known


def _text(id: bytes) -> str:
    return id.decode("utf-8", "surrogateescape")


class TopicSides(NamedTuple):
    """The topic and the target, to be compared like two systems."""

    owner: TopicRecords
    target: TargetChecksumReader
