"""A record as a message: key and value in Debezium's form or flat, with the schemas that Kafka Connect reads.

Source of the form: Debezium's documentation, "Data change events" of its PostgreSQL connector.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from pydantic import JsonValue

from sorbus.consumers.kafka.columns import Columns
from sorbus.consumers.kafka.connect_types import ConnectType, Wire
from sorbus.consumers.kafka.options import KafkaTarget
from sorbus.schema import AvroType

Op = Literal["c", "u", "d", "r"]
Struct = dict[str, "Wire | Struct"]


def _unchanged(value: object) -> Wire:
    return value  # type: ignore[return-value]


_STRING, _LONG = ConnectType("string", _unchanged), ConnectType("int64", _unchanged)
# Debezium's own fields of `source` that every connector has, and the event's version.
_SOURCE: Sequence[tuple[str, ConnectType, bool]] = (
    ("version", _STRING, False),
    ("connector", _STRING, False),
    ("name", _STRING, False),
    ("ts_ms", _LONG, False),
    ("snapshot", _STRING, True),
    ("db", _STRING, False),
    ("sequence", _STRING, True),
    ("ts_us", _LONG, True),
    ("ts_ns", _LONG, True),
    ("table", _STRING, True),
    ("record_version", _LONG, True),
)


_LAST_NS = 2**63 // 1000


class Origin(NamedTuple):
    """Where a record's state is from: its owner, the version, and when it changed there (microseconds since 1970)."""

    system: str
    version: int
    occurred_at: int


@dataclass(frozen=True, slots=True)
class StructSchema:
    """A struct: its name, and each field's name, type or struct, and whether it is optional."""

    name: str
    fields: Sequence[tuple[str, ConnectType | StructSchema, bool]]

    def json_schema(self, *, optional: bool = False) -> dict[str, JsonValue]:
        """As JsonConverter writes it."""
        fields: list[JsonValue] = []
        for name, type, can_lack in self.fields:
            if isinstance(type, StructSchema):
                fields.append({"field": name, **type.json_schema(optional=can_lack)})
            else:
                fields.append(type.json_schema(name, optional=can_lack))
        return {"type": "struct", "fields": fields, "optional": optional, "name": self.name}

    def avro_schema(self, known: set[str] | None = None) -> AvroType:
        """As AvroConverter writes it; a struct that came before is named only."""
        known = set() if known is None else known
        if self.name in known:
            return self.name
        known.add(self.name)
        fields: list[AvroType] = []
        for name, type, can_lack in self.fields:
            inner = type.avro_schema(known) if isinstance(type, StructSchema) else type.avro_schema()
            field: dict[str, AvroType] = {"name": name, "type": ["null", inner] if can_lack else inner}
            if can_lack:
                field["default"] = None  # type: ignore[assignment]
            fields.append(field)
        namespace, _, short = self.name.rpartition(".")
        made: dict[str, AvroType] = {"type": "record", "name": short, "fields": fields, "connect.name": self.name}
        return {**made, "namespace": namespace} if namespace else made


class RecordMessages:
    """One flow's messages. `key_schema` and `value_schema` describe what `key` and `value` return."""

    def __init__(self, columns: Columns, options: KafkaTarget, data_type: str, version: str) -> None:
        """`version`: of Sorbus."""
        self._columns, self._options = columns, options
        self.is_flat = options.format == "flat"
        self.key_name = options.key
        name = _connect_name(options.topic)
        key = ConnectType(options.key_type, _unchanged)
        fields: list[tuple[str, ConnectType | StructSchema, bool]] = [(options.key, key, False)]
        fields += [(one.name, one.type, True) for one in columns.columns]
        self.key_schema = StructSchema(f"{name}.Key", [(options.key, key, False)])
        row = StructSchema(f"{name}.Value", fields)
        self.value_schema = row if self.is_flat else _envelope(name, row)
        self._nothing: Struct = dict.fromkeys((one.name for one in columns.columns), None)
        self._source: Struct = {
            "version": version,
            "connector": "sorbus",
            "sequence": None,
            "table": data_type,
        }

    def key(self, id: bytes) -> Struct:
        """The key of a record. PermanentError."""
        return {self._options.key: self._columns.key(id)}

    def value(self, key: Struct, row: Mapping[str, Wire] | None, op: Op, origin: Origin) -> Struct | None:
        """What a record's message holds; None in the flat form of a delete."""
        if self.is_flat:
            return None if row is None else {**key, **row}
        micros = origin.occurred_at
        source: Struct = {
            **self._source,
            "name": origin.system,
            "db": origin.system,
            "ts_ms": micros // 1000,
            "ts_us": micros,
            "ts_ns": micros * 1000 if abs(micros) < _LAST_NS else None,  # int64 ends in 2262
            "snapshot": "true" if op == "r" else "false",
            "record_version": origin.version,
        }
        return {
            "before": {**key, **self._nothing} if row is None else None,
            "after": None if row is None else {**key, **row},
            "source": source,
            "op": op,
            "ts_ms": micros // 1000,
        }


def _envelope(name: str, row: StructSchema) -> StructSchema:
    source = StructSchema("io.debezium.connector.sorbus.Source", _SOURCE)
    return StructSchema(
        f"{name}.Envelope",
        [
            ("before", row, True),
            ("after", row, True),
            ("source", source, False),
            ("op", _STRING, False),
            ("ts_ms", _LONG, True),
        ],
    )


def _connect_name(topic: str) -> str:
    """The topic as a name that Avro allows."""
    parts = [re.sub(r"[^A-Za-z0-9_]", "_", part) or "_" for part in topic.split(".")]
    return ".".join(f"_{part}" if part[0].isdigit() else part for part in parts)
