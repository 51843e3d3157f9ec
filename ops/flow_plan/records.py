"""The newest state of each of a flow's records, from its topic or from its owner."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from itertools import islice
from typing import NamedTuple

from confluent_kafka import Message

from sorbus.abilities import SupportsScan
from sorbus.bus.deserialize import decode_batch
from sorbus.bus.kafka import all_partitions, bytes_of, kafka_errors, read_to_end, topic_reader
from sorbus.bus.names import Names
from sorbus.bus.schema_resolver import SchemaResolver
from sorbus.connector import BoundFlow, Delivery, RejectedRecord
from sorbus.errors import IncompleteRead, PermanentError, UsageError
from sorbus.event import data_at, envelope_schema, event_encoder, open_frame, single_object_prefix
from sorbus.map.loaded import LoadedMap
from sorbus.settings import Settings

_BATCH = 5000
_NOW = 2**62
"""The version of a state that is read from its owner: newer than all there is."""


class RecordBatch(NamedTuple):
    """Records to deliver, and those that are refused before (id, why)."""

    deliveries: list[Delivery]
    refused: list[tuple[str, PermanentError]]


class NewestEvents(NamedTuple):
    """A topic's records: each one's newest version, which of them are deleted, and those whose event can't be read."""

    versions: dict[bytes, int]
    deleted: set[bytes]
    unread: dict[str, PermanentError]

    def knows(self, id: str) -> bool:
        """Whether the topic has an event of it."""
        return id in self.unread or id.encode("utf-8", "replace") in self.versions

    def holds(self, id: str) -> bool:
        """Whether the record is there, by its newest event."""
        return self.knows(id) and id.encode("utf-8", "replace") not in self.deleted


class TopicRecords:
    """The records of a topic, each with its newest event; about 150 bytes of memory for each."""

    def __init__(self, settings: Settings, flow: BoundFlow, progress: Callable[[str, int, int], None]) -> None:
        names = Names(flow.system.topic_prefix)
        self._settings, self._flow, self._progress = settings, flow, progress
        self._topic = names.topic(flow.flow.data_type)
        self._book = SchemaResolver(settings, names, [flow.schema])

    def has_events(self) -> bool:
        """Whether the topic is there and holds anything. TransientError, AuthError."""
        reader = topic_reader(self._settings, f"plan-{self._flow.flow.id}")
        try:
            with kafka_errors(f"measuring {self._topic}"):
                marks = [
                    reader.get_watermark_offsets(part, timeout=15.0) for part in all_partitions(reader, self._topic)
                ]
        finally:
            reader.close()
        return any(high > low for low, high in marks)

    def __iter__(self) -> Iterator[RecordBatch]:
        """TransientError, AuthError. What is published meanwhile is left out."""
        newest = self.newest()
        yield RecordBatch([], list(newest.unread.items()))
        yield from self.among(newest, newest.versions)

    def newest(self) -> NewestEvents:
        """Which event is the newest of each record. TransientError, AuthError."""
        versions: dict[bytes, int] = {}
        deleted: set[bytes] = set()
        unread: dict[str, PermanentError] = {}
        for number, messages in enumerate(self._batches()):
            self._progress("finding the newest events", (number + 1) * _BATCH, 0)
            taken = decode_batch(messages, self._book)
            for one in taken.deliveries:
                if versions.get(one.id, -1) <= one.version:
                    versions[one.id] = one.version
                    (deleted.add if one.deleted else deleted.discard)(one.id)
                    unread.pop(one.id.decode(errors="replace"), None)
            for message, error in taken.refused:
                unread[bytes_of(message.key()).decode(errors="replace")] = error
        for id in unread:
            versions.pop(id.encode(), None)
            deleted.discard(id.encode())
        return NewestEvents(versions, deleted, unread)

    def among(self, newest: NewestEvents, ids: Collection[bytes]) -> Iterator[RecordBatch]:
        """The newest events of these records, in the topic's order. TransientError, AuthError."""
        left = {id: newest.versions[id] for id in ids if id in newest.versions}
        total = len(left)
        for messages in self._batches():
            # An event and its tombstone have one version: the record counts once.
            taken = decode_batch(messages, self._book)
            found = [one for one in taken.deliveries if left.get(one.id) == one.version and left.pop(one.id)]
            if found:
                yield RecordBatch(found, [])
            self._progress("records", total - len(left), total)
            if not left:
                return

    def _batches(self) -> Iterator[list[Message]]:
        reader = topic_reader(self._settings, f"plan-{self._flow.flow.id}")
        try:
            messages = read_to_end(reader, all_partitions(reader, self._topic))
            while batch := list(islice(messages, _BATCH)):
                yield batch
        finally:
            reader.close()


class OwnerRecords:
    """The records as their owner has them now, through its mapping. `cut_short`: why some are lacking, "" for none."""

    def __init__(self, loaded: LoadedMap, flow: BoundFlow, progress: Callable[[str, int, int], None]) -> None:
        """UsageError where the owner's kind can't be read so."""
        data_type = flow.flow.data_type
        self._owner = loaded.map.owner_of(data_type)
        connector = loaded.producer(self._owner)
        self._system, self._source = loaded.system(self._owner, "producer"), loaded.source(data_type)
        if not isinstance(connector, SupportsScan):
            kind = self._system.system.kind
            raise UsageError(f"records can't be read from {self._owner} (kind {kind}) before they are published")
        self._connector, self._progress, self.cut_short = connector, progress, ""

    def __iter__(self) -> Iterator[RecordBatch]:
        """TransientError, AuthError, MapError."""
        schema = self._source.schema
        write = event_encoder(single_object_prefix(envelope_schema(schema)), self._owner, self._source.name)
        count = 0
        try:
            for records in self._connector.scan(self._system, self._source):
                batch = RecordBatch([], [])
                for one in records:
                    if isinstance(one, RejectedRecord):
                        batch.refused.append((one.id.decode(errors="replace"), one.error))
                        continue
                    frame, _ = write(one.id, _NOW, one.occurred_at, one.occurred_at, one.data)
                    at = data_at(frame, open_frame(frame).at)
                    batch.deliveries.append(Delivery(one.id, _NOW, False, schema, frame, at))
                count += len(records)
                self._progress("records", count, 0)
                yield batch
        except IncompleteRead as error:
            self.cut_short = str(error)


def delete_of(flow: BoundFlow, id: bytes) -> Delivery:
    """What delivers a delete that is on no topic any more, for a dry run."""
    return Delivery(id, _NOW, True, flow.schema, b"", 0)


def is_of_owner(delivery: Delivery) -> bool:
    """Whether its state was read from the owner, and so has no version."""
    return delivery.version == _NOW
