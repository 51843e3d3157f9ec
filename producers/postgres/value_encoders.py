"""PostgreSQL's text values to Avro binary, one encoder per column and field, chosen once per table layout.

The usual pairs copy or compute bytes straight from the text; all others go through a Python value (psycopg's own
loaders, for types whose every value Python can hold or refuse) and `sorbus.mapping.convert`, which refuses what can't
be converted exactly. Every other type (intervals, ranges, addresses, JSON ...) is its text: nothing reads more into it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import NamedTuple

import psycopg
from psycopg.pq import Format

from sorbus.avro.encode import (
    EPOCH_DAY,
    LENGTHS,
    NULL,
    SOME,
    SOME_LENGTHS,
    encode_bytes,
    encode_long,
    encode_unscaled,
    encoder,
    micros,
    unscaled,
)
from sorbus.mapping.convert import convert
from sorbus.producers.postgres.arrays import read_array
from sorbus.schema import FieldType

TextEncoder = Callable[[bytes | None], bytes]
Loader = Callable[[bytes], object]

_INTEGERS = {20, 21, 23, 26}
_JSON = {114, 3802}
_MONEY = 790
_VALUES = {16, 17, *_INTEGERS, 700, 701, 1082, 1083, 1114, 1184, 2950}
"""Types whose text psycopg reads as a Python value; numeric and money are read here."""
_BY_RULE_ONLY = {16, 17, 700, 701}
"""Types that become text only by a rule, which says how."""
_IN_ISO = {1082, 1083, 1114, 1184}
_PLAIN_TEXTS = {18, 19, 25, 1042, 1043}


class SourceType(NamedTuple):
    """A column's type below its domains. `element`: the type, below domains, of an array's elements (0: no array)."""

    oid: int
    element: int = 0
    delimiter: str = ","


def is_plain_text(oid: int) -> bool:
    """Whether a value of type `oid` is its text."""
    return oid in _PLAIN_TEXTS


def loader(oid: int, element: int = 0, delimiter: str = ",") -> Loader:
    """Text of type `oid` to a Python value; a list where `element` is an array's, else the text itself."""
    if not element and (known := psycopg.adapters.types.get(oid)) is not None and known.array_oid == oid:
        element, delimiter = known.oid, known.delimiter
    if element:
        return _array(loader(element), delimiter.encode())
    if oid == 1700:
        return _number
    if oid == _MONEY:
        return _money
    found = psycopg.adapters.get_loader(oid, Format.TEXT) if oid in _VALUES else None
    if found is None:
        return bytes.decode
    instance = found(oid)

    def load(text: bytes) -> object:
        try:
            return instance.load(text)
        except (psycopg.DataError, ValueError, OverflowError) as error:
            raise ValueError(f"{text.decode(errors='replace')!r} can't be read: {error}") from error

    return load


def _array(read: Loader, delimiter: bytes) -> Loader:
    def load(text: bytes) -> object:
        if text.startswith(b"["):
            bounds = text.partition(b"=")[0].decode()
            raise ValueError(f"its elements are numbered {bounds}, and a list's begin with 1: make the field a string")
        return read_array(text, read, delimiter)

    return load


def _number(text: bytes) -> object:
    try:
        return Decimal(text.decode())
    except InvalidOperation as error:
        raise ValueError(f"{text.decode(errors='replace')!r} can't be read: it is not a valid number") from error


def _money(text: bytes) -> object:
    """Money as lc_monetary C writes it: -$1,234.50."""
    return _number(text.replace(b"$", b"").replace(b",", b""))


def _json(text: bytes) -> object:
    """A document for a map or a record; numbers keep all their digits."""
    return json.loads(text, parse_float=Decimal)


def _as_text(oid: int) -> Callable[[bytes], bytes]:
    """Dates and times in ISO 8601; those that it can't write (infinity, BC, 24:00) as PostgreSQL does."""
    load, to = loader(oid), FieldType("string")

    def encode(text: bytes) -> bytes:
        try:
            made = convert(load(text), to)
        except ValueError:
            return _copied_text(text)
        return encode_bytes(str(made).encode())

    return encode


def text_encoder(oid: int, kind: FieldType, element: int = 0, delimiter: str = ",") -> TextEncoder:
    """The function that turns a column's text (None: null) into the field's Avro; it raises ValueError or TypeError."""
    direct = _direct(oid, kind)
    if direct is _copied_text:
        return _optional_text if kind.nullable else _required_text
    if direct is None:
        is_document = oid in _JSON and kind.kind in ("map", "record", "array")
        load, encode = _json if is_document else loader(oid, element, delimiter), encoder(kind)
        return lambda text: encode(None if text is None else convert(load(text), kind))
    if kind.nullable:
        return lambda text: NULL if text is None else SOME + direct(text)

    def required(text: bytes | None) -> bytes:
        if text is None:
            raise ValueError("has no value, and must have one")
        return direct(text)

    return required


def _direct(oid: int, kind: FieldType) -> Callable[[bytes], bytes] | None:
    match kind.kind:
        case "string" if oid in _IN_ISO:
            return _as_text(oid)
        case "string" if oid != _MONEY and oid not in _BY_RULE_ONLY:
            return _copied_text
        case "uuid" if oid == 2950:
            return _copied_text
        case "int" | "long" if oid in _INTEGERS:
            return _whole(31 if kind.kind == "int" else 63)
        case "decimal" if oid == 1700 or oid in _INTEGERS:
            return _decimal(kind.precision, kind.scale)
        case "boolean" if oid == 16:
            return lambda text: b"\1" if text == b"t" else b"\0"
        case "timestamp" if oid == 1184:
            return _timestamp
        case "date" if oid == 1082:
            return _date
        case "bytes" if oid == 17:
            return lambda text: encode_bytes(bytes.fromhex(text[2:].decode()))
        case _:
            return None


def native_kind(oid: int, kind: FieldType) -> str | None:
    """What the C encoder calls this pair (see `sorbus/native/codec.c`); None where it doesn't know it."""
    match kind.kind:
        case "string" | "uuid" if _direct(oid, kind) is _copied_text:
            return "text"
        case "int" | "long" if oid in _INTEGERS:
            return "whole"
        case "decimal" if oid == 1700 or oid in _INTEGERS:
            return "decimal"
        case "boolean" if oid == 16:
            return "boolean"
        case "timestamp" if oid == 1184:
            return "timestamp"
        case "date" if oid == 1082:
            return "date"
        case "bytes" if oid == 17:
            return "hex"
        case _:
            return None


def _copied_text(text: bytes) -> bytes:
    if not text.isascii():
        text.decode()  # a database may hold bytes that are not text: UnicodeDecodeError, a ValueError
    return encode_bytes(text)


def _optional_text(text: bytes | None) -> bytes:
    if text is None:
        return NULL
    if not text.isascii():
        text.decode()
    size = len(text)
    return SOME_LENGTHS[size] + text if size < 4096 else SOME + encode_long(size) + text


def _required_text(text: bytes | None) -> bytes:
    if text is None:
        raise ValueError("has no value, and must have one")
    if not text.isascii():
        text.decode()
    size = len(text)
    return LENGTHS[size] + text if size < 4096 else encode_long(size) + text


def _whole(bits: int) -> Callable[[bytes], bytes]:
    low, high = -(1 << bits), (1 << bits) - 1

    def encode(text: bytes) -> bytes:
        value = int(text)
        if not low <= value <= high:
            raise ValueError(f"{value} is outside {low} to {high}")
        return encode_long(value)

    return encode


def _decimal(precision: int, scale: int) -> Callable[[bytes], bytes]:
    bound, point = 10**precision, -scale - 1

    def encode(text: bytes) -> bytes:
        if scale and text[point:-scale] == b".":
            try:
                value = int(text[:point] + text[-scale:])
            except ValueError as error:
                raise ValueError(f"{text.decode()!r} is not a number") from error
            if -bound < value < bound:
                raw = value.to_bytes((value.bit_length() + 8) // 8, "big", signed=True)
                return LENGTHS[len(raw)] + raw
        try:
            number = Decimal(text.decode())
        except InvalidOperation as error:
            raise ValueError(f"{text.decode()!r} is not a number") from error
        return encode_unscaled(unscaled(number, precision, scale))

    return encode


@lru_cache(maxsize=8192)
def _timestamp(text: bytes) -> bytes:
    try:
        return encode_long(micros(datetime.fromisoformat(text.decode())))
    except ValueError as error:
        raise ValueError(f"{text.decode()!r} is not a valid point in time between the years 1 and 9999") from error


@lru_cache(maxsize=8192)
def _date(text: bytes) -> bytes:
    try:
        return encode_long(date.fromisoformat(text.decode()).toordinal() - EPOCH_DAY)
    except ValueError as error:
        raise ValueError(f"{text.decode()!r} is not a valid date between the years 1 and 9999") from error
