"""The change event: the envelope around a canonical record, its frame on the wire, and its CloudEvents headers.

Frames: the Confluent wire format (0x00, schema id as 4 bytes) with a registry, Avro single-object encoding (0xC3 0x01,
CRC-64-AVRO as 8 bytes) without one; readers accept both. Headers: CloudEvents 1.0, Kafka protocol binding, binary mode,
without what the key and the frame say (docs/decisions/0095-events-have-five-headers.md).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote

from sorbus import native
from sorbus.avro.decode import Undecodable, read_bytes, read_long, skip_long
from sorbus.avro.encode import LENGTHS, encode_bytes, encode_long
from sorbus.calendar_limits import EPOCH, within_calendar
from sorbus.errors import SchemaError
from sorbus.native import codec
from sorbus.schema import AvroType, RecordSchema, parse_schema

ENVELOPE = ("id", "op", "version", "source", "occurred_at", "captured_at", "event_id", "data")
Headers = list[tuple[str, str | bytes | None]]
EVENT_ID = "ce_id"
HISTORICAL = "sorbus_historical"
"""The header of events that repeat a known state (initial snapshot, resnapshot); its value is 1."""
REREAD = "sorbus_reread"
"""The header of events that a person asked for: the record is to be compared there, though nothing may have changed."""
REPLAYED = "sorbus_replayed"
"""The header of a dead letter or waiting record that comes of a replay: its version may be the target's already, and is
written once more all the same."""
EDITED = "sorbus_edited"
"""The header of a dead letter that a person edited: of two events with one version it is the one that counts."""
DELIVERED = "sorbus_delivered"
"""The header of a state that Sorbus itself wrote into the source; its value is the version that it brought."""
ON_TOMBSTONES = {"ce_specversion", EVENT_ID, "ce_source", "ce_type", "ce_time", DELIVERED}
"""Headers that a delete's tombstone also carries: it is all that compaction leaves in the end."""
_OPS = ("upsert", "delete")


def id_fault(id: bytes) -> str:
    """What is wrong with an id that Sorbus's database can't hold as text, or only as another record's; "" if it can."""
    try:
        id.decode()
    except UnicodeDecodeError:
        return "isn't UTF-8"
    return "has a zero byte" if b"\0" in id else ""


def envelope_schema(record: RecordSchema) -> RecordSchema:
    """The schema of a data type's change event, the record's schema inside."""
    moment: AvroType = {"type": "long", "logicalType": "timestamp-micros"}
    op: AvroType = {"type": "enum", "name": "op", "symbols": list(_OPS)}
    fields: list[AvroType] = [
        {"name": "id", "type": "string", "doc": "The record's id in the source system."},
        {"name": "op", "type": op, "doc": "What happened to it."},
        {"name": "version", "type": "long", "doc": "Grows with every change of the record."},
        {"name": "source", "type": "string", "doc": "The system of record."},
        {"name": "occurred_at", "type": moment, "doc": "When it happened there (UTC)."},
        {"name": "captured_at", "type": moment, "doc": "When the producer saw it (UTC)."},
        {"name": "event_id", "type": "string", "doc": "DATA_TYPE/ID@VERSION, unique per source."},
        {"name": "data", "type": ["null", record.json], "doc": "The full new state; null when deleted."},
    ]
    name = f"{record.name.rpartition('.')[2]}_event"
    return parse_schema(
        {
            "type": "record",
            "name": name,
            "namespace": "sorbus",
            "doc": f"A change of a {record.name}.",
            "fields": fields,
        }
    )


def record_inside(envelope: RecordSchema) -> RecordSchema:
    """The record's schema from a registered envelope's; SchemaError if it isn't a Sorbus envelope."""
    if tuple(field.name for field in envelope.fields) != ENVELOPE:
        raise SchemaError(f"{envelope.name} is not a Sorbus change event: its fields must be {', '.join(ENVELOPE)}")
    fields = envelope.json["fields"]
    assert isinstance(fields, list)
    data = fields[-1]
    assert isinstance(data, dict)
    union = data["type"]
    if not isinstance(union, list) or not isinstance(union[-1], dict):
        raise SchemaError(f'{envelope.name}: data must be ["null", a record]')
    return parse_schema(union[-1], where=envelope.name)


def confluent_prefix(schema_id: int) -> bytes:
    """The frame's head in the Confluent wire format."""
    return b"\0" + schema_id.to_bytes(4, "big")


def single_object_prefix(schema: RecordSchema) -> bytes:
    """The frame's head in Avro single-object encoding."""
    return b"\xc3\x01" + schema.fingerprint


@lru_cache(maxsize=4096)
def _moment(micros: int) -> tuple[bytes, bytes]:
    """A timestamp as Avro and as RFC 3339; cached, since many events share one.

    A server's clock may show anything: a time outside the calendar is clamped to its nearest end, not rejected.
    """
    micros = within_calendar(micros)
    text = (EPOCH + timedelta(microseconds=micros)).isoformat(timespec="microseconds")
    return encode_long(micros), text.replace("+00:00", "Z").encode()


Encoded = tuple[bytes, Headers]
EventEncoder = Callable[[bytes, int, int, int, bytes | None], Encoded]


def event_encoder(prefix: bytes, source: str, data_type: str, *, namespace: str = "") -> EventEncoder:
    """`encode(id, version, occurred_at, captured_at, data)` for one data type gives an event's value and headers.

    Times are in microseconds since 1970; `data` None is a delete. `namespace` is where `source` is unique, for the
    CloudEvents headers.
    """
    written_source, subject = encode_bytes(source.encode()), data_type.encode()
    fixed: Headers = [
        ("ce_specversion", b"1.0"),
        ("ce_source", f"urn:sorbus:{quote(namespace)}:{quote(source)}".encode()),
    ]
    upserts: Headers = [*fixed, ("ce_type", f"sorbus.{data_type}.upsert".encode())]
    deletes: Headers = [*fixed, ("ce_type", f"sorbus.{data_type}.delete".encode())]

    def encode(id: bytes, version: int, occurred_at: int, captured_at: int, data: bytes | None) -> Encoded:
        event_id = b"%b/%b@%d" % (subject, id, version)
        size, event_size = len(id), len(event_id)
        occurred, occurred_text = _moment(occurred_at)
        captured, _ = _moment(captured_at)
        value = (
            prefix
            + (LENGTHS[size] if size < 4096 else encode_long(size))
            + id
            + (b"\0" if data is not None else b"\2")
            + encode_long(version)
            + written_source
            + occurred
            + captured
            + (LENGTHS[event_size] if event_size < 4096 else encode_long(event_size))
            + event_id
            + (b"\0" if data is None else b"\2" + data)
        )
        return value, [
            *(deletes if data is None else upserts),
            (EVENT_ID, event_id),
            ("ce_time", occurred_text),
        ]

    if native.absence:
        return encode
    names = EVENT_ID, "ce_time"
    return codec.EventEncoder(prefix, written_source, subject, upserts, deletes, names, _moment, encode)


def version_of(event_id: bytes) -> int | None:
    """The version that an event's id ends in; None for a foreign id."""
    written = event_id.rpartition(b"@")[2]
    return int(written) if written.isdigit() else None


class Opened(NamedTuple):
    """The head of a frame: which schema wrote it, the record's id, op and version; `at` is where `source` begins."""

    prefix: bytes
    id: bytes
    deleted: bool
    version: int
    at: int


def open_frame(frame: bytes) -> Opened:
    """Reads a frame's head without its schema: the envelope's first fields never change. Raises Undecodable."""
    return Opened(*read_head(frame))


def read_head(frame: bytes) -> tuple[bytes, bytes, bool, int, int]:
    """`open_frame` for the hot path: the same as a plain tuple."""
    try:
        first = frame[0]
        if first == 0:
            at = 5
        elif first == 0xC3 and frame[1] == 1:
            at = 10
        else:
            raise Undecodable(f"begins with byte 0x{first:02x}: neither the Confluent format nor Avro single-object")
        prefix = frame[:at]
        size = frame[at]
        if size < 128 and not size & 1:
            end = at + 1 + (size >> 1)
            id = frame[at + 1 : end]
            at = end
        else:
            id, at = read_bytes(frame, at)
        op = frame[at]
        if op not in (0, 2):
            raise Undecodable(f"op number {op}")
        version, at = read_long(frame, at + 1)
    except IndexError:
        raise Undecodable(f"ends in the middle of the envelope ({len(frame)} bytes)") from None
    return prefix, id, op == 2, version, at


def data_at(frame: bytes, at: int) -> int:
    """From where `source` begins to where the record's data begin, past the union's branch; Undecodable."""
    try:
        size = frame[at]
        at = at + 1 + (size >> 1) if size < 128 and not size & 1 else _past_bytes(frame, at)
        at = skip_long(frame, skip_long(frame, at))  # occurred_at, captured_at
        at = _past_bytes(frame, at)
        if frame[at] != 2:
            raise Undecodable(f"an upsert without a record (branch byte {frame[at]})")
        return at + 1
    except IndexError:
        raise Undecodable(f"ends in the middle of the envelope ({len(frame)} bytes)") from None


def told_by_source(frame: bytes) -> bytes:
    """All of an event but its version, and when it was captured: what the same change gives whenever it is read.

    Undecodable.
    """
    try:
        prefix, id, _, _, at = read_head(frame)
        op = len(prefix) + len(encode_bytes(id))
        end = skip_long(frame, _past_bytes(frame, at))
        return frame[: op + 1] + frame[at:end] + frame[_past_bytes(frame, skip_long(frame, end)) :]
    except IndexError:
        raise Undecodable(f"ends in the middle of the envelope ({len(frame)} bytes)") from None


def source_of(frame: bytes) -> str:
    """The system that published an event. Undecodable."""
    return read_bytes(frame, read_head(frame)[4])[0].decode(errors="replace")


def _past_bytes(frame: bytes, at: int) -> int:
    size, at = read_long(frame, at)
    if size < 0:
        raise Undecodable("a negative length")
    return at + size


def occurred_at(frame: bytes, at: int) -> int:
    """When it happened in the source, in microseconds since 1970; `at` is where `source` begins. Undecodable."""
    try:
        return read_long(frame, _past_bytes(frame, at))[0]
    except IndexError:
        raise Undecodable(f"ends in the middle of the envelope ({len(frame)} bytes)") from None
