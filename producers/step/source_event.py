"""What a message of the topic that a step reads says of a record."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import NamedTuple

from confluent_kafka import Message

from sorbus.avro.decode import Undecodable, read_record
from sorbus.bus.kafka import bytes_of, headers_of, offset_of, partition_of
from sorbus.bus.schema_resolver import SchemaResolver
from sorbus.errors import PermanentError
from sorbus.event import EVENT_ID, HISTORICAL, data_at, occurred_at, open_frame, version_of
from sorbus.mapping.default import Defaults
from sorbus.schema import RecordSchema


class SourceEvent(NamedTuple):
    """A record's state: `record` its fields and `id`, None when it was deleted; `error` where it can't be read.

    `occurred_at`: microseconds since 1970. `is_historical`: it repeats a known state (a snapshot, for instance).
    """

    id: bytes
    version: int
    occurred_at: int
    record: dict[str, object] | None
    error: PermanentError | None = None
    is_historical: bool = False


class SourceEvents:
    """Reads the messages of one data type. `schema`: its fields as the step's rules know them."""

    def __init__(self, schema: RecordSchema, resolver: SchemaResolver) -> None:
        self._resolver = resolver
        self._defaults = Defaults(schema.fields)

    def read(self, message: Message, now: int) -> SourceEvent:
        """What it says; `now` (microseconds since 1970) where it doesn't say when. TransientError without registry."""
        key, value = bytes_of(message.key()), message.value()
        headers = dict(headers_of(message))
        if value is None:  # a tombstone: its delete came before, or compaction has left it alone
            return SourceEvent(key, version_of(headers.get(EVENT_ID) or b"") or 0, now, None)
        is_historical = HISTORICAL in headers
        try:
            frame = bytes_of(value)
            head = open_frame(frame)
            at = occurred_at(frame, head.at)
            if head.deleted:
                return SourceEvent(head.id, head.version, at, None, None, is_historical)
            begin = data_at(frame, head.at)
            record, end = read_record(self._resolver.schema(head.prefix), frame, begin)
            if end != len(frame):
                raise Undecodable(f"its record ends at byte {end} of {len(frame)}")
            id = head.id.decode(errors="replace")
            whole = self._defaults.fill(record, id=id)
            return SourceEvent(head.id, head.version, at, whole, None, is_historical)
        except (Undecodable, PermanentError) as error:
            _, partition = partition_of(message)
            told = f"the event at offset {offset_of(message)} of partition {partition} can't be read: {error}"
            unread = PermanentError(told, reason="undecodable")
            return SourceEvent(key, event_version(message) or 0, now, None, unread, is_historical)


def event_version(message: Message) -> int | None:
    """The version that a message's headers name."""
    return version_of(dict(headers_of(message)).get(EVENT_ID) or b"")


def is_older(version: int | None, than: int | None) -> bool:
    """Whether both are known, and the first one is the older."""
    return version is not None and than is not None and version < than


def known_apart(messages: Sequence[Message]) -> tuple[Sequence[Message], bool]:
    """The first of them, as many as are alike: whether they repeat a known state, so that what they make does."""
    is_known = bool(messages) and HISTORICAL in dict(headers_of(messages[0]))
    same = takewhile(lambda one: (HISTORICAL in dict(headers_of(one))) == is_known, messages)
    return list(same), is_known
