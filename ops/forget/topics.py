"""What Kafka holds of one record: on its data type's topic, among the dead letters, on the flows' requeue topics."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from confluent_kafka import Message, TopicPartition

from sorbus.avro.decode import Undecodable
from sorbus.bus.kafka import (
    admin,
    all_partitions,
    bytes_of,
    headers_of,
    idempotent_producer,
    kafka_errors,
    offset_of,
    partition_of,
    read_to_end,
    topic_reader,
)
from sorbus.bus.letters import open_letters
from sorbus.bus.names import Names
from sorbus.bus.sending import Single, send
from sorbus.bus.topic_settings import compacted_by, removed_by
from sorbus.deadletter import CLOSED, DeadLetter
from sorbus.erased import erased_message
from sorbus.event import EVENT_ID, open_frame, version_of
from sorbus.ops.forget.receipt import Receipt
from sorbus.ops.monitoring.committed import Committed
from sorbus.ops.monitoring.offsets import Part
from sorbus.settings import Settings

_TIMEOUT = 30.0


class TopicTrace(NamedTuple):
    """A record on a topic: whether its last event is a live state, where the last is, and how many hold its data.

    `version`: its highest; None where no event says one. `ends`: where the topic's partitions ended.
    """

    is_live: bool
    last: dict[Part, int]
    with_data: int
    version: int | None
    ends: dict[Part, int]


class Bus:
    """One map's Kafka, as an erasure sees it. TransientError, AuthError from all of it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._admin = admin(settings)

    def trace(self, topic: str, id: bytes, after: Mapping[Part, int] = MappingProxyType({})) -> TopicTrace:
        """Reads a whole topic, or what came to it after an earlier trace's `ends`: nothing else knows where it is."""
        reader = topic_reader(self._settings, f"forget-{topic}")
        is_live, with_data, last, versions, ends = False, 0, dict[Part, int](), list[int](), dict[Part, int]()
        try:
            if partitions := all_partitions(reader, topic):
                for each in partitions:
                    each.offset = after.get((each.topic, each.partition), each.offset)
                for message in read_to_end(reader, partitions, ends=ends):
                    if _is_of(message, id):
                        is_live = _has_data(message)
                        with_data += is_live
                        last[partition_of(message)] = offset_of(message)
                        versions += [version] if (version := _version(message)) is not None else []
        finally:
            reader.close()
        return TopicTrace(is_live, last, with_data, max(versions, default=None), ends)

    def delivered(self, group: str, last: dict[Part, int], *, until: float, say: Callable[[str], None]) -> bool:
        """Waits until a flow's group is past these offsets, or `until` (monotonic seconds); whether it is."""
        committed = Committed(self._settings)
        try:
            while True:
                at = committed.ask({group: list(last)})[group]
                if all(part in at and at[part].offset > offset for part, offset in last.items()):
                    return True
                if time.monotonic() > until:
                    return False
                say(f"waiting for {group} to deliver")
                time.sleep(0.2)
        finally:
            committed.close()

    def letters(self, topic: str, id: bytes) -> list[DeadLetter]:
        """The record's open dead letters, of all flows and of its source."""
        found = open_letters(self._settings, [topic], "forget", lambda each: each if each.record_id == id else None)
        return list(found.values())

    def close_letters(self, topic: str, letters: Sequence[DeadLetter]) -> None:
        """Puts a tombstone in place of each."""
        closed = [Single(topic, letter.id.encode(), None, [(CLOSED, b"forgotten")]) for letter in letters]
        send(idempotent_producer(self._settings, "forget"), closed, "closing dead letters")

    def keep_erased(self, names: Names, receipt: Receipt) -> None:
        """Has Kafka keep up to which version the record was erased, if the topic had any."""
        if receipt.version is not None and receipt.ended_at is not None:
            at = receipt.ended_at.timestamp()
            kept = erased_message(names, receipt.data_type, receipt.id, receipt.version, at)
            send(idempotent_producer(self._settings, "forget"), [kept], "keeping that it is erased")

    def drop_read(self, topic: str, group: str) -> None:
        """Deletes what the group has read of a topic that isn't compacted: the requeued copies."""
        committed = Committed(self._settings)
        reader = topic_reader(self._settings, "forget-requeued")
        try:
            parts = [(part.topic, part.partition) for part in all_partitions(reader, topic)]
            at = committed.ask({group: parts})[group]
        finally:
            committed.close()
            reader.close()
        if at:
            wanted = [TopicPartition(*part, place.offset) for part, place in at.items()]
            with kafka_errors(f"deleting what is done of {topic}"):
                for future in self._admin.delete_records(wanted).values():
                    future.result(_TIMEOUT)

    def removed_by(self, topic: str) -> str:
        """When Kafka may remove what is on a topic that isn't compacted, in ISO 8601; "" if never."""
        return removed_by(self._admin, topic)

    def compacted_by(self, topic: str) -> str:
        """When Kafka must have cleaned away superseded states at the latest, as far as the topic's settings say."""
        return compacted_by(self._admin, topic)


def _is_of(message: Message, id: bytes) -> bool:
    """By key, or as a dead letter, whose key is its own."""
    return bytes_of(message.key()) == id or dict(headers_of(message)).get("sorbus.record_id") == id


def _version(message: Message) -> int | None:
    if (version := version_of(dict(headers_of(message)).get(EVENT_ID) or b"")) is not None:
        return version
    try:
        return open_frame(bytes_of(value)).version if (value := message.value()) is not None else None
    except Undecodable:
        return None


def _has_data(message: Message) -> bool:
    value = message.value()
    if value is None:
        return False
    try:
        return not open_frame(bytes_of(value)).deleted
    except Undecodable:
        return True
