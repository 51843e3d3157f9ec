"""Things: the data type of the conformance suite, with one field of each common type."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from sorbus.avro.decode import read_record
from sorbus.avro.encode import encoder
from sorbus.connector import Delivery
from sorbus.event import data_at, envelope_schema, event_encoder, open_frame, single_object_prefix
from sorbus.mapfile.model import FieldMapping
from sorbus.schema import AvroType, FieldType, RecordSchema, parse_schema

Thing = Mapping[str, object]
NAME = "sample"


_FIELDS: list[AvroType] = json.loads("""[
    {"name": "name", "type": "string"},
    {"name": "note", "type": ["null", "string"], "default": null},
    {"name": "amount", "default": null,
     "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 19, "scale": 4}]},
    {"name": "count", "type": ["null", "long"], "default": null},
    {"name": "active", "type": ["null", "boolean"], "default": null},
    {"name": "made_on", "type": ["null", {"type": "int", "logicalType": "date"}], "default": null},
    {"name": "seen_at", "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}], "default": null}
]""")
_NEW_FIELD: AvroType = json.loads('{"name": "colour", "type": ["null", "string"], "default": null}')


def _schema(*more: AvroType) -> RecordSchema:
    return parse_schema({"type": "record", "name": NAME, "namespace": "sorbus", "fields": [*_FIELDS, *more]})


SCHEMA = _schema()
NEWER_SCHEMA = _schema(_NEW_FIELD)
FIELDS = frozenset(field.name for field in SCHEMA.fields)
"""Every field of a sample; a target or source that stores fewer says so."""
UNICODE = (
    "Zoë Ångström-Šťastný",
    "日本語 العربية हिन्दी עברית",
    "👩🏽‍🚀 flag 🇪🇺",
    "e\u0301 isn't \u00e9",
    'O\'Hara "the" `great` \\ 100% {{ value }} <b>&amp;</b>',
    "first\nsecond\tthird, fourth; fifth|sixth",
    "a\u00a0non-breaking\u200bzero width",
    "null",
)


def sample(number: int, fields: frozenset[str] = FIELDS, **values: object) -> dict[str, object]:
    """A unique sample; fields that aren't in `fields` are null."""
    full: dict[str, object] = {
        "name": f"Thing {number}",
        "note": None if number % 5 == 0 else f"note {number}",
        "amount": None if number % 7 == 0 else Decimal(number * 31 % 9973) / 4 - 100,
        "count": None if number % 11 == 0 else number * 1_000_003,
        "active": (True, False, None)[number % 3],
        "made_on": None if number % 13 == 0 else date(2026, 1, 1) + timedelta(number % 365),
        "seen_at": datetime(2026, 3, 28, 23, 30, tzinfo=UTC) + timedelta(seconds=number, microseconds=number % 1000),
    }
    return {name: value if name in fields else None for name, value in {**full, **values}.items()}


def retained(things: Mapping[str, Thing], fields: frozenset[str]) -> dict[str, dict[str, object]]:
    """Things reduced to the fields that are compared."""
    return {id: {name: one.get(name) for name in sorted(fields)} for id, one in things.items()}


def difference(found: Mapping[str, Thing], wanted: Mapping[str, Thing]) -> str:
    """What differs, short enough to read; "" if nothing does."""
    lines = [f"{id} is missing" for id in sorted(wanted.keys() - found.keys())]
    lines += [f"{id} is there and shouldn't be: {found[id]}" for id in sorted(found.keys() - wanted.keys())]
    for id in sorted(found.keys() & wanted.keys()):
        lines += [
            f"{id}: {name} is {found[id].get(name)!r} and should be {value!r}"
            for name, value in wanted[id].items()
            if found[id].get(name) != value
        ]
    return "\n".join([f"{len(lines)} differences:", *(line[:300] for line in lines[:10])]) if lines else ""


def decode(data: bytes) -> dict[str, object]:
    """Decodes a producer's Avro sample; AssertionError if bytes are left over."""
    found, end = read_record(SCHEMA, data)
    assert end == len(data), f"{len(data) - end} bytes behind the record: it isn't in the schema of its data type"
    return found


def secrets_of(connection: Mapping[str, object]) -> list[str]:
    """The entries of a connection whose names mark them as secret."""
    words = ("secret", "password", "token", "key", "dsn")
    return [name for name, value in connection.items() if value and any(word in name for word in words)]


def rows(system: str, mapping: Sequence[tuple[str, str, str]], *, into: bool) -> tuple[FieldMapping, ...]:
    """Mapping rows (field of a sample, field of the system, rule); `into` the system, or out of it."""
    made = []
    for place, (field, other, rule) in enumerate(mapping, 2):
        ends = [("canonical", f"{NAME}.{field}" if field else ""), (system, other)]
        (source, from_field), (target, to_field) = ends if into else ends[::-1]
        made.append(
            FieldMapping(
                source_system=source,
                source_field=from_field,
                target_system=target,
                target_field=to_field,
                rule=rule,
                line=place,
            )
        )
    return tuple(made)


class Deliveries:
    """Builds deliveries as the loop does from a topic's events."""

    def __init__(self, schema: RecordSchema = SCHEMA) -> None:
        self._schema = schema
        self._record = encoder(FieldType("record", fields=schema.fields))
        self._event = event_encoder(single_object_prefix(envelope_schema(schema)), "suite", NAME)

    def make(self, id: str, version: int, record: Thing | None) -> Delivery:
        """A delivery of this state; None: deleted, told by the event where `version` is even, else by a tombstone."""
        data = (
            None if record is None else self._record({**dict.fromkeys(f.name for f in self._schema.fields), **record})
        )
        frame, _ = self._event(id.encode(), version, 1_700_000_000_000_000 + version, 1_700_000_000_000_000, data)
        head = open_frame(frame)
        if head.deleted and version % 2:
            return Delivery(head.id, head.version, True, self._schema, b"", 0)
        at = 0 if head.deleted else data_at(frame, head.at)
        return Delivery(head.id, head.version, head.deleted, self._schema, frame, at)
