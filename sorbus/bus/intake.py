"""From Kafka messages to deliveries: opened, the newest of each record, each with the schema that wrote it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from confluent_kafka import Message

from sorbus.avro.decode import Undecodable
from sorbus.bus.kafka import bytes_of, headers_of
from sorbus.bus.registry import SchemaBook
from sorbus.connector import Delivery
from sorbus.errors import PermanentError
from sorbus.event import VERSION_HEADER, data_at, occurred_at, open_frame
from sorbus.schema import RecordSchema

_NONE = RecordSchema("none", (), {"type": "record", "name": "none", "fields": []})
_NO_PREFIX = b""


class Taken(NamedTuple):
    """A batch's deliveries with the messages they came in, in step; and what can't be read, with the reason."""

    deliveries: list[Delivery]
    messages: list[Message]
    refused: list[tuple[Message, PermanentError]]


class _Read(NamedTuple):
    message: Message
    version: int
    deleted: bool
    prefix: bytes
    at: int


def take_in(messages: Sequence[Message], book: SchemaBook) -> Taken:
    """Opens `messages` (no errors among them). TransientError when the registry can't be asked now."""
    newest: dict[bytes, _Read] = {}
    taken = Taken([], [], [])
    for message in messages:
        try:
            frame = bytes_of(message.value()) if message.value() is not None else None
            if frame is None:
                _tombstone(message, newest)
                continue
            prefix, id, deleted, version, at = open_frame(frame)
        except Undecodable as error:
            taken.refused.append((message, PermanentError(f"undecodable: {error}", reason="undecodable")))
            continue
        was = newest.get(id)
        if was is None or was.version <= version:
            newest[id] = _Read(message, version, deleted, prefix, at)
    schemas: dict[bytes, RecordSchema] = {}
    for id, (message, version, deleted, prefix, at) in newest.items():
        if deleted:
            taken.deliveries.append(Delivery(id, version, True, _NONE, b"", 0))
            taken.messages.append(message)
            continue
        try:
            schema = schemas.get(prefix)
            if schema is None:
                schema = schemas[prefix] = book.schema(prefix)
            frame = bytes_of(message.value())
            taken.deliveries.append(Delivery(id, version, False, schema, frame, data_at(frame, at)))
            taken.messages.append(message)
        except Undecodable as error:
            taken.refused.append((message, PermanentError(f"undecodable: {error}", reason="undecodable")))
        except PermanentError as error:
            taken.refused.append((message, error))
    return taken


def _tombstone(message: Message, newest: dict[bytes, _Read]) -> None:
    """A tombstone is a delete when it names its version, as ours do; others say nothing that we could order."""
    headers = dict(headers_of(message))
    written, id = headers.get(VERSION_HEADER), bytes_of(message.key())
    if written is None or not id or not written.isdigit():
        return
    version = int(written)
    was = newest.get(id)
    if was is None or was.version <= version:
        newest[id] = _Read(message, version, True, _NO_PREFIX, 0)


def occurred(message: Message) -> int | None:
    """When a message's change happened in the source, in microseconds since 1970; None if it doesn't say."""
    frame = message.value()
    if frame is None:
        return None
    try:
        return occurred_at(bytes_of(frame), open_frame(bytes_of(frame)).at)
    except (Undecodable, IndexError):
        return None
