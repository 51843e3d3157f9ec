"""Kafka messages to deliveries: decoded, the newest of each record, each with the schema that wrote it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

from confluent_kafka import Message

from sorbus import native
from sorbus.avro.decode import Undecodable
from sorbus.bus.kafka import bytes_of, headers_of, offset_of, partition_of
from sorbus.bus.schema_resolver import SchemaResolver
from sorbus.connector import Delivery
from sorbus.errors import PermanentError
from sorbus.event import (
    EDITED,
    EVENT_ID,
    HISTORICAL,
    REPLAYED,
    REREAD,
    data_at,
    id_fault,
    occurred_at,
    open_frame,
    read_head,
    version_of,
)
from sorbus.native import codec
from sorbus.schema import RecordSchema

_NONE = RecordSchema("none", (), {"type": "record", "name": "none", "fields": []})


class Overtaken(NamedTuple):
    """An event with a newer one of its record behind it on the same partition, and the newer version."""

    id: bytes
    version: int
    newer: int
    message: Message


class DecodedBatch(NamedTuple):
    """A batch's deliveries and the messages they came from, by index; undecodable messages, with the reason; and events
    overtaken by a newer one of their record. The first `ahead` deliveries must be applied before the others: they are
    the last states of records that the batch deletes.
    """

    deliveries: list[Delivery]
    messages: list[Message]
    refused: list[tuple[Message, PermanentError]]
    overtaken: list[Overtaken]
    ahead: int


_Read = tuple[Message, bytes | None, bytes, int, int, int]
"""A message, its frame (None: deleted), its prefix, the version, and where `source` and the data (0: unknown) begin."""
_read_event: Callable[[bytes], tuple[bytes, bytes, bool, int, int, int] | None] = (
    (lambda _: None) if native.absence else codec.read_event
)
_delivery = cast(
    "Callable[[tuple[bytes, int, bool, RecordSchema, bytes, int, bool, bool]], Delivery]",
    functools.partial(tuple.__new__, Delivery),
)
"""Makes a Delivery without the cost of its keyword-taking constructor: there is one a record."""


def decode_batch(
    messages: Sequence[Message], book: SchemaResolver, *, keeps_deleted: bool = False, marks: bool = False
) -> DecodedBatch:
    """Decodes `messages` (none of them errors). TransientError if Kafka or the registry can't be reached; SchemaError
    if one head stands for different schemas.

    `keeps_deleted`: deleted records stay in the target with their last values. `marks`: deliveries say whether they are
    historical or reread, which takes a look at each one's headers.
    """
    newest: dict[bytes, _Read] = {}
    last: dict[bytes, _Read] = {}
    deliveries: list[Delivery] = []
    sources: list[Message] = []
    refused: list[tuple[Message, PermanentError]] = []
    overtaken: list[Overtaken] = []
    for message in messages:
        frame = message.value()
        if frame is None:
            _tombstone(message, newest)
            continue
        try:
            if (read := _read_event(frame)) is not None:
                prefix, id, deleted, version, at, begins = read
            else:
                prefix, id, deleted, version, at = read_head(frame)
                begins = 0
            if (not begins or b"\0" in id) and (fault := id_fault(id)):
                raise Undecodable(f"its id {id!r} {fault}; correct it where the event was written")
        except Undecodable as error:
            refused.append((message, _undecodable(error)))
            continue
        was = newest.get(id)
        if was is None or was[3] < version or (was[3] == version and not _gives_way(message, was[0])):
            newest[id] = message, None if deleted else frame, prefix, version, at, begins
            if keeps_deleted and not deleted:
                last[id] = newest[id]
        elif _is_behind(message, was[0]):
            overtaken.append(Overtaken(id, version, was[3], message))
    ahead = [(id, read) for id, read in last.items() if newest[id][1] is None]
    schemas: dict[bytes, RecordSchema] = {}
    unknown: dict[bytes, PermanentError] = {}
    for id, (message, frame, prefix, version, at, begins) in (*ahead, *newest.items()):
        try:
            if frame is None:
                delivery = _delivery((id, version, True, _NONE, bytes_of(message.value()), 0, False, False))
            else:
                schema = schemas.get(prefix)
                if schema is None:
                    schema = schemas[prefix] = _looked_up(book, prefix, unknown)
                begins = begins or data_at(frame, at)
                delivery = _delivery((id, version, False, schema, frame, begins, False, False))
        except Undecodable as error:
            refused.append((message, _undecodable(error)))
        except PermanentError as error:
            refused.append((message, error))
        else:
            if marks:
                names = {name for name, _ in headers_of(message)}
                if not names.isdisjoint((HISTORICAL, REPLAYED, REREAD)):
                    repeats = HISTORICAL in names or REPLAYED in names
                    delivery = delivery._replace(historical=repeats, reread=REREAD in names)
            deliveries.append(delivery)
            sources.append(message)
    first = sum(one.version < newest[one.id][3] for one in deliveries[: len(ahead)])
    return DecodedBatch(deliveries, sources, refused, overtaken, first)


def _looked_up(book: SchemaResolver, prefix: bytes, unknown: dict[bytes, PermanentError]) -> RecordSchema:
    """The schema of a frame's head; what isn't known is asked for once a batch."""
    if prefix in unknown:
        raise unknown[prefix]
    try:
        return book.schema(prefix)
    except PermanentError as error:
        unknown[prefix] = error
        raise


def _is_behind(message: Message, other: Message) -> bool:
    """On the same partition, at a later offset: not a requeued dead letter, nor a deferred record."""
    return partition_of(message) == partition_of(other) and offset_of(message) > offset_of(other)


def _gives_way(message: Message, other: Message) -> bool:
    """Of one version: an event that is delivered once more, to its dead letter that a person has edited since."""
    return _has(other, EDITED) and not _has(message, EDITED)


def _has(message: Message, header: str) -> bool:
    return any(name == header for name, _ in headers_of(message))


def _undecodable(error: Undecodable) -> PermanentError:
    return PermanentError(f"undecodable: {error}", reason="undecodable")


def _tombstone(message: Message, newest: dict[bytes, _Read]) -> None:
    """A tombstone is a delete if it names its version, as ours do; others can't be ordered."""
    headers = dict(headers_of(message))
    version, id = version_of(headers.get(EVENT_ID) or b""), bytes_of(message.key())
    if version is None or not id or id_fault(id):
        return
    was = newest.get(id)
    if was is None or was[3] < version:  # the delete event before it holds more
        newest[id] = message, None, b"", version, 0, 0


def without_replayed(message: Message) -> list[tuple[str, bytes | None]]:
    """The message's headers, as if no replay had delivered it."""
    return [(name, value) for name, value in headers_of(message) if name != REPLAYED]


def replayed(message: Message) -> Message:
    """The message as a replay delivers it, for when it is tried again."""
    return Message(
        topic=message.topic(),
        partition=message.partition(),
        offset=message.offset(),
        key=message.key(),
        value=message.value(),
        headers=[*without_replayed(message), (REPLAYED, b"1")],
    )


def is_replayed(message: Message) -> bool:
    """Whether the message was refused or deferred in a replay, or edited since: an equal version is written again."""
    return _has(message, REPLAYED) or _has(message, EDITED)


def occurred(message: Message) -> int | None:
    """When a message's change happened in the source, in microseconds since 1970; None if it doesn't say."""
    frame = message.value()
    if frame is None:
        return None
    try:
        return occurred_at(bytes_of(frame), open_frame(bytes_of(frame)).at)
    except (Undecodable, IndexError):
        return None
