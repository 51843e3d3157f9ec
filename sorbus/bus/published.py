"""What is currently on a data type's topic: the state that a producer compares with what it reads from its source."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from sorbus.abilities import PublishedState
from sorbus.avro.decode import Undecodable, read_record
from sorbus.avro.encode import encoder
from sorbus.bus.kafka import all_partitions, bytes_of, read_to_end, topic_reader
from sorbus.bus.schema_resolver import SchemaResolver
from sorbus.errors import PermanentError
from sorbus.event import data_at, occurred_at, open_frame
from sorbus.mapping.convert import converter
from sorbus.schema import RecordSchema
from sorbus.settings import Settings


def published_records(
    settings: Settings, topic: str, book: SchemaResolver, schema: RecordSchema, *, doubtful: Collection[bytes] = ()
) -> Iterator[PublishedState]:
    """Every live record of a topic, read once: at most one partition's live records are in memory.

    A record's data is empty if it can't be decoded in `schema`: for the `doubtful` ids (those with an open dead
    letter, on the topic or not) and for what an older, incompatible schema wrote. It then equals nothing.
    TransientError without Kafka.
    """
    decoded = _Decoder(book, schema)
    left = set(doubtful)
    consumer = topic_reader(settings, f"published-{topic}")
    try:
        for partition in all_partitions(consumer, topic):
            live: dict[bytes, bytes] = {}
            for message in read_to_end(consumer, [partition]):
                key, value = bytes_of(message.key()), message.value()
                if value is None:
                    live.pop(key, None)
                else:
                    live[key] = bytes_of(value)
            for key, frame in live.items():
                try:
                    head = open_frame(frame)
                    if head.deleted:
                        continue
                    occurred = occurred_at(frame, head.at)
                    data = b"" if key in left else decoded(head.prefix, frame[data_at(frame, head.at) :])
                except Undecodable:
                    continue  # a foreign message: compared with nothing, and so published again
                left.discard(key)
                yield PublishedState(head.id, head.version, occurred, data)
    finally:
        consumer.close()
    for key in sorted(left):
        yield PublishedState(key, 0, 0, b"")


class _Decoder:
    """Canonical records in `schema`, whichever schema wrote them."""

    def __init__(self, book: SchemaResolver, schema: RecordSchema) -> None:
        self._book, self._schema = book, schema
        self._writers: dict[bytes, RecordSchema | None] = {}
        self._fields = [(field.name, converter(field.type), encoder(field.type)) for field in schema.fields]

    def __call__(self, prefix: bytes, data: bytes) -> bytes:
        if prefix not in self._writers:
            self._writers[prefix] = self._writer(prefix)
        writer = self._writers[prefix]
        if writer is None:
            return b""
        if writer.text == self._schema.text:
            return data
        try:
            record, _ = read_record(writer, data)
            return b"".join([encode(convert(record.get(name))) for name, convert, encode in self._fields])
        except (ValueError, TypeError):  # Undecodable is one
            return b""

    def _writer(self, prefix: bytes) -> RecordSchema | None:
        try:
            return self._book.schema(prefix)
        except PermanentError:
            return None
