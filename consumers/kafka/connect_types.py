"""Canonical types as Kafka Connect's: types, logical names and what a value is on the wire.

Sources: Kafka Connect's `org.apache.kafka.connect.data`; Debezium's documentation, "Data type mappings" of its
PostgreSQL connector; Confluent's `AvroData` for how Avro carries a Connect schema's name and parameters.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from decimal import Decimal
from uuid import UUID

from pydantic import JsonValue

from sorbus.avro.encode import unscaled
from sorbus.consumers.kafka.options import KafkaTarget
from sorbus.mapping.filters.text import as_text
from sorbus.schema import AvroType, FieldType

Wire = None | bool | int | float | str | bytes
_AVRO = {"int32": "int", "int64": "long", "float": "float", "double": "double"}
_EPOCH = date(1970, 1, 1).toordinal()
_MICROS = 1_000_000
_DECIMAL = "org.apache.kafka.connect.data.Decimal"


@dataclass(frozen=True, slots=True)
class ConnectType:
    """A Connect schema of one field. `wire` makes a canonical value what JSON and Avro carry; ValueError."""

    type: str
    wire: Callable[[object], Wire] = field(compare=False)
    name: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    logical: Mapping[str, JsonValue] = field(default_factory=dict)
    """Avro's own logical type, where it has one."""

    def json_schema(self, field_name: str, *, optional: bool) -> dict[str, JsonValue]:
        """As JsonConverter writes it."""
        made: dict[str, JsonValue] = {"field": field_name, "type": self.type, "optional": optional}
        if self.name:
            made |= {"name": self.name, "version": 1}
        if self.parameters:
            made["parameters"] = dict(self.parameters)
        return made

    def avro_schema(self) -> AvroType:
        """As AvroConverter writes it, not optional."""
        plain = _AVRO.get(self.type, self.type)
        if not self.name and not self.logical:
            return plain
        made: dict[str, AvroType] = {"type": plain, **self.logical}  # type: ignore[dict-item]
        if self.name:
            made |= {"connect.version": 1, "connect.name": self.name}  # type: ignore[dict-item]
        if self.parameters:
            made["connect.parameters"] = dict(self.parameters)
        return made


def connect_type(kind: FieldType, options: KafkaTarget) -> ConnectType:
    """How a field of this type is written."""
    plain_text = options.encoding == "json"
    is_flat = options.format == "flat"
    match kind.kind:
        case "int":
            return ConnectType("int32", _same)
        case "long":
            return ConnectType("int64", _same)
        case "float" | "double":
            return ConnectType(kind.kind, _finite if options.encoding != "avro" else _same)
        case "boolean" | "bytes":
            return ConnectType(kind.kind, _same)
        case "decimal":
            return ConnectType("string", as_text) if plain_text else _decimal(kind)
        case "date":
            return _date(options)
        case "time":
            return (
                ConnectType("string", as_text) if is_flat else ConnectType("int64", _time, "io.debezium.time.MicroTime")
            )
        case "timestamp":
            return _timestamp(options)
        case "uuid":
            return ConnectType("string", _text, "io.debezium.data.Uuid" if not is_flat else "")
        case "array" | "map" | "record":
            return ConnectType("string", _nested, "io.debezium.data.Json" if not is_flat else "")
        case _:
            return ConnectType("string", _text)


def _decimal(kind: FieldType) -> ConnectType:
    precision, scale = kind.precision, kind.scale

    def wire(value: object) -> bytes:
        assert isinstance(value, Decimal)
        number = unscaled(value, precision, scale)
        return number.to_bytes((number + (number < 0)).bit_length() // 8 + 1, "big", signed=True)

    parameters = {"scale": str(scale), "connect.decimal.precision": str(precision)}
    logical: dict[str, JsonValue] = {"logicalType": "decimal", "precision": precision, "scale": scale}
    return ConnectType("bytes", wire, _DECIMAL, parameters, logical)


def _date(options: KafkaTarget) -> ConnectType:
    if options.format == "debezium":
        return ConnectType("int32", _days, "io.debezium.time.Date")
    if options.encoding == "json":
        return ConnectType("string", as_text)
    return ConnectType("int32", _days, "org.apache.kafka.connect.data.Date", logical={"logicalType": "date"})


def _timestamp(options: KafkaTarget) -> ConnectType:
    match options.timestamps:
        case "micros":
            return ConnectType("int64", _micros, "io.debezium.time.MicroTimestamp")
        case "millis":
            logical: dict[str, JsonValue] = {"logicalType": "timestamp-millis"}
            return ConnectType("int64", _millis, "org.apache.kafka.connect.data.Timestamp", logical=logical)
        case _:
            return ConnectType("string", _utc, "io.debezium.time.ZonedTimestamp")


def _same(value: object) -> Wire:
    return value  # type: ignore[return-value]


def _text(value: object) -> str:
    return str(value) if isinstance(value, UUID) else as_text(value)


def _finite(value: object) -> Wire:
    number = float(value)  # type: ignore[arg-type]
    if number != number or number in (float("inf"), float("-inf")):
        raise ValueError(f"JSON has no {number}: take `encoding: avro`, or map it with a rule")
    return number


def _days(value: object) -> int:
    assert isinstance(value, date)
    return value.toordinal() - _EPOCH


def _time(value: object) -> int:
    assert isinstance(value, time)
    return ((value.hour * 60 + value.minute) * 60 + value.second) * _MICROS + value.microsecond


def _utc(value: object) -> str:
    assert isinstance(value, datetime)
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _micros(value: object) -> int:
    assert isinstance(value, datetime)
    since = value.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * _MICROS + since.microseconds


def _millis(value: object) -> int:
    millis, rest = divmod(_micros(value), 1000)
    if rest:
        raise ValueError(
            f"{_utc(value)} has microseconds, which Kafka Connect's Timestamp can't hold: take `timestamps: text`"
        )
    return millis


def _nested(value: object) -> str:
    return json.dumps(_plain(value), ensure_ascii=False, separators=(",", ":"))


def _plain(value: object) -> JsonValue:
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return _finite(value)  # type: ignore[return-value]
        case dict():
            return {str(name): _plain(inner) for name, inner in value.items()}
        case list() | tuple():
            return [_plain(inner) for inner in value]
        case datetime():
            return _utc(value)
        case bytes():
            import base64

            return base64.b64encode(value).decode()
        case _:
            return _text(value)
