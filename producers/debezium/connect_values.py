"""Values of Kafka Connect's and Debezium's types as Python's: exact, or ValueError; no I/O.

https://debezium.io/documentation/reference/stable/connectors/postgresql.html#postgresql-data-types. A schema is as
JsonConverter writes it: {"type", "name", "parameters", "fields": [{..., "field": NAME}], "items", "values"}.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from hashlib import md5
from typing import Any
from uuid import UUID

from sorbus.calendar_limits import EPOCH
from sorbus.http_api.interface import Json
from sorbus.mapping.errors import shown

Schema = Mapping[str, Any]
_CONNECT, _DEBEZIUM = "org.apache.kafka.connect.data.", "io.debezium.time."
_DAYS = {_CONNECT + "Date", _DEBEZIUM + "Date"}
_MOMENTS = {
    _CONNECT + "Timestamp": 1_000_000, _DEBEZIUM + "Timestamp": 1_000_000, _DEBEZIUM + "MicroTimestamp": 1000,
    _DEBEZIUM + "NanoTimestamp": 1,
}  # fmt: skip
_TIMES = {
    _CONNECT + "Time": 1_000_000, _DEBEZIUM + "Time": 1_000_000, _DEBEZIUM + "MicroTime": 1000,
    _DEBEZIUM + "NanoTime": 1,
}  # fmt: skip
"""Nanoseconds of a unit."""
_ZONED = _DEBEZIUM + "ZonedTimestamp"
_FINER = re.compile(r"\.\d{6}\d*[1-9]")
_FRACTION = re.compile(r"(\.\d{6})\d+")
_DAY_ZERO = date(1970, 1, 1)
_DAY = 86_400_000_000
"""Microseconds."""


class Unavailable:
    """Stands for a value that the database didn't log because it didn't change."""


UNAVAILABLE = Unavailable()


def value_of(raw: Json, schema: Schema | None, placeholder: str) -> object:
    """A value as Python's, columns of a row by name. ValueError, TypeError, ArithmeticError."""
    if raw is None:
        return None
    if is_placeholder(raw, placeholder):
        return UNAVAILABLE
    if schema is None:
        return raw
    kind, name = schema.get("type"), str(schema.get("name") or "")
    if kind == "struct":
        return _struct(raw, schema, name, placeholder)
    if name:
        return named_value(raw, name, _scale(schema))
    if kind == "array":
        return [value_of(one, schema.get("items"), placeholder) for one in raw]
    if kind == "map" and isinstance(raw, Mapping):
        return {str(key): value_of(one, schema.get("values"), placeholder) for key, one in raw.items()}
    if kind == "bytes":
        return _bytes(raw)
    return float(raw) if kind in ("float", "double") else raw


def named_value(raw: Json, name: str, scale: int | None) -> object:
    """A value of a logical type."""
    if name == _CONNECT + "Decimal":
        if scale is None:
            raise ValueError("its schema doesn't say the scale")
        return decimal_of(_bytes(raw), scale)
    if name in _DAYS:
        return _DAY_ZERO + timedelta(days=_whole(raw))
    if name in _MOMENTS:
        return (EPOCH + timedelta(microseconds=_micros(raw, _MOMENTS[name]))).replace(tzinfo=None)
    if name in _TIMES:
        return _time_of_day(_micros(raw, _TIMES[name]))
    if name == _ZONED and isinstance(raw, str):
        if _FINER.search(raw):
            raise ValueError(f"{shown(raw)} is finer than a microsecond")
        return datetime.fromisoformat(_FRACTION.sub(r"\1", raw))
    if name == "io.debezium.data.Bits":
        return _bytes(raw)
    return raw


def decimal_of(data: bytes, scale: int) -> Decimal:
    """Two's complement, big-endian, as Java's BigInteger; with every digit."""
    number = int.from_bytes(data, "big", signed=True)
    return Decimal((int(number < 0), tuple(map(int, str(abs(number)))), -scale))


def is_placeholder(raw: Json, placeholder: str) -> bool:
    """In every form in which Debezium writes it: for bytes, UUIDs, and inside lists and maps, too."""
    texts, data = _placeholders(placeholder)
    if isinstance(raw, str):
        return raw in texts
    if isinstance(raw, bytes):
        return raw == data
    if isinstance(raw, list):
        return raw == list(data) or (len(raw) == 1 and is_placeholder(raw[0], placeholder))
    return isinstance(raw, dict) and len(raw) == 1 and all(is_placeholder(one, placeholder) for one in raw.values())


@lru_cache(maxsize=8)
def _placeholders(placeholder: str) -> tuple[frozenset[str], bytes]:
    """As texts: itself, its bytes in base64 or hex, Java's UUID of them; and its bytes, which fill lists of numbers."""
    data = placeholder.encode()
    uuid = UUID(bytes=md5(data, usedforsecurity=False).digest(), version=3)
    return frozenset((placeholder, b64encode(data).decode(), data.hex(), str(uuid))), data


def _struct(raw: Json, schema: Schema, name: str, placeholder: str) -> object:
    if not isinstance(raw, Mapping):
        raise TypeError(f"{shown(raw)} is not a record")
    if name == "io.debezium.data.VariableScaleDecimal":
        return decimal_of(_bytes(raw.get("value")), _whole(raw.get("scale")))
    fields = schema.get("fields") or ()
    return {str(one["field"]): value_of(raw.get(str(one["field"])), one, placeholder) for one in fields}


def _scale(schema: Schema) -> int | None:
    found = (schema.get("parameters") or {}).get("scale")
    return None if found is None else int(found)


def _micros(raw: Json, unit: int) -> int:
    nanos = _whole(raw) * unit
    if nanos % 1000:
        raise ValueError(f"{raw} nanoseconds is finer than a microsecond")
    return nanos // 1000


def _time_of_day(micros: int) -> time:
    """MySQL's TIME has up to 838 hours, PostgreSQL's a 24th: a time of day would lose its days."""
    if not 0 <= micros < _DAY:
        raise ValueError(f"{micros} microseconds after midnight is no time of day")
    return (datetime.min + timedelta(microseconds=micros)).time()


def _whole(raw: Json) -> int:
    if isinstance(raw, bool) or not isinstance(raw, int):
        raise TypeError(f"{shown(raw)} is not a whole number")
    return raw


def _bytes(raw: Json) -> bytes:
    if isinstance(raw, bytes):
        return raw
    if not isinstance(raw, str):
        raise TypeError(f"{shown(raw)} is not bytes")
    try:
        return b64decode(raw, validate=True)
    except NotBase64 as error:
        raise ValueError(f"{shown(raw)} is not base64") from error
