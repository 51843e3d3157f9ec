"""Avro binary to Python values: one reader per field type, each `(data, at) -> (value, end)`.

Readers don't check bounds at every step: an index past the end raises IndexError, and a slice past the end leaves
the final position beyond len(data), which `read_record` rejects. Nothing outside the frame is read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Context, Decimal
from struct import Struct
from typing import TypeVar

from sorbus.avro.encode import EPOCH_DAY
from sorbus.calendar_limits import EPOCH
from sorbus.schema import FieldType, RecordSchema

T = TypeVar("T")
Reader = Callable[[bytes, int], tuple[T, int]]
AnyReader = Callable[[bytes, int], tuple[object, int]]
_float32, _float64 = Struct("<f").unpack_from, Struct("<d").unpack_from
_EXACT = Context(prec=400)
_LONGEST_DECIMAL = 160
"""Bytes: fewer than 400 digits. Decoding a decimal takes time quadratic in its length."""


_MORE, _EIGHT_BYTES = 0x8080808080808080, 0x0080808080808080
"""The continuation bits of eight bytes, and their values in a varint of exactly eight bytes."""


class Undecodable(ValueError):
    """The bytes are not what the schema says."""


def read_long(data: bytes, at: int) -> tuple[int, int]:
    """A zigzag varint; Undecodable if it is longer than 64 bits."""
    byte = data[at]
    if byte < 128:
        return (byte >> 1) ^ -(byte & 1), at + 1
    value = int.from_bytes(data[at : at + 8], "little")
    if value & _MORE == _EIGHT_BYTES:  # timestamps: the seven-bit groups are joined pairwise, three times
        value &= 0x7F7F7F7F7F7F7F7F
        value = value & 0x007F007F007F007F | (value & 0x7F007F007F007F00) >> 1
        value = value & 0x00003FFF00003FFF | (value & 0x3FFF00003FFF0000) >> 2
        value = value & 0x000000000FFFFFFF | (value & 0x0FFFFFFF00000000) >> 4
        return (value >> 1) ^ -(value & 1), at + 8
    value, shift = byte & 127, 7
    while shift < 70:
        at += 1
        byte = data[at]
        value |= (byte & 127) << shift
        if byte < 128:
            if value >> 64:
                break
            return (value >> 1) ^ -(value & 1), at + 1
        shift += 7
    raise Undecodable("a number longer than 64 bits")


def read_bytes(data: bytes, at: int) -> tuple[bytes, int]:
    """Avro's bytes, and its string undecoded."""
    size, at = read_long(data, at)
    if size < 0:
        raise Undecodable("a negative length")
    end = at + size
    return data[at:end], end


def skip_long(data: bytes, at: int) -> int:
    """Where the varint at `at` ends."""
    if int.from_bytes(data[at : at + 8], "little") & _MORE == _EIGHT_BYTES:  # as in every current timestamp
        return at + 8
    while data[at] > 127:
        at += 1
    return at + 1


def from_micros(value: int) -> datetime:
    """Microseconds since 1970 as a UTC datetime; Undecodable outside the years 1 to 9999."""
    try:
        return EPOCH + timedelta(microseconds=value)
    except OverflowError as error:
        raise Undecodable(f"{value} microseconds is not a valid date") from error


def read_record(schema: RecordSchema, data: bytes, at: int = 0) -> tuple[dict[str, object], int]:
    """One record as a dict of Python values; Undecodable if the bytes don't match `schema`."""
    out: dict[str, object] = {}
    try:
        for name, read in record_readers(schema):
            out[name], at = read(data, at)
    except (IndexError, ValueError, ArithmeticError, RecursionError) as error:
        raise Undecodable(f"not a {schema.name}: {error}") from error
    if at > len(data):
        raise Undecodable(f"not a {schema.name}: it ends in the middle of a value")
    return out, at


_READERS: dict[str, list[tuple[str, AnyReader]]] = {}


def record_readers(schema: RecordSchema) -> list[tuple[str, AnyReader]]:
    """The readers of a schema's fields in wire order, built once per schema."""
    if (found := _READERS.get(schema.text)) is None:
        found = _READERS[schema.text] = [(field.name, reader(field.type)) for field in schema.fields]
    return found


def reader(kind: FieldType) -> AnyReader:
    """The function that reads a value of `kind`."""
    read = _reader(kind)
    if not kind.nullable:
        return read
    if read is _string:
        return _optional_string

    def optional(data: bytes, at: int) -> tuple[object, int]:
        if data[at] == 0:
            return None, at + 1
        if data[at] != 2:
            raise Undecodable(f"union branch byte {data[at]}")
        return read(data, at + 1)

    return optional


def _reader(kind: FieldType) -> AnyReader:
    match kind.kind:
        case "array":
            assert kind.item is not None
            return _array(reader(kind.item))
        case "map":
            assert kind.item is not None
            return _map(reader(kind.item))
        case "record":
            return _record([(field.name, reader(field.type)) for field in kind.fields])
        case "decimal":
            return _decimal(kind.scale)
        case "enum":
            return _enum(kind.symbols)
        case other:
            return _SCALARS[other]


def _array(item: AnyReader) -> AnyReader:
    def read(data: bytes, at: int) -> tuple[object, int]:
        out: list[object] = []
        while True:
            count, at = read_long(data, at)
            if not count:
                return out, at
            if count < 0:  # a block that states its size in bytes
                count, at = -count, skip_long(data, at)
            if count > len(data):
                raise Undecodable(f"an array of {count} items in {len(data)} bytes")
            for _ in range(count):
                value, at = item(data, at)
                out.append(value)

    return read


def _map(item: AnyReader) -> AnyReader:
    def pair(data: bytes, at: int) -> tuple[object, int]:
        name, at = read_bytes(data, at)
        value, at = item(data, at)
        return (name.decode(), value), at

    pairs = _array(pair)

    def read(data: bytes, at: int) -> tuple[object, int]:
        found, at = pairs(data, at)
        return dict(found), at  # type: ignore[call-overload]

    return read


def _record(fields: list[tuple[str, AnyReader]]) -> AnyReader:
    def read(data: bytes, at: int) -> tuple[object, int]:
        out: dict[str, object] = {}
        for name, read_field in fields:
            out[name], at = read_field(data, at)
        return out, at

    return read


def _decimal(scale: int) -> AnyReader:
    def read(data: bytes, at: int) -> tuple[object, int]:
        raw, at = read_bytes(data, at)
        if len(raw) > _LONGEST_DECIMAL:
            raise Undecodable(f"a decimal of {len(raw)} bytes")
        return Decimal(int.from_bytes(raw, "big", signed=True)).scaleb(-scale, _EXACT), at

    return read


def _enum(symbols: tuple[str, ...]) -> AnyReader:
    def read(data: bytes, at: int) -> tuple[object, int]:
        place, at = read_long(data, at)
        if not 0 <= place < len(symbols):
            raise Undecodable(f"enum symbol number {place} of {len(symbols)}")
        return symbols[place], at

    return read


def _string(data: bytes, at: int) -> tuple[object, int]:
    size = data[at]
    if size < 128 and not size & 1:
        end = at + 1 + (size >> 1)
        return data[at + 1 : end].decode(), end
    raw, at = read_bytes(data, at)
    return raw.decode(), at


def _optional_string(data: bytes, at: int) -> tuple[object, int]:
    branch = data[at]
    if branch == 0:
        return None, at + 1
    if branch != 2:
        raise Undecodable(f"union branch byte {branch}")
    size = data[at + 1]
    if size < 128 and not size & 1:
        end = at + 2 + (size >> 1)
        return data[at + 2 : end].decode(), end
    return _string(data, at + 1)


def _boolean(data: bytes, at: int) -> tuple[object, int]:
    if data[at] > 1:
        raise Undecodable(f"boolean byte {data[at]}")
    return data[at] == 1, at + 1


def _timestamp(data: bytes, at: int) -> tuple[object, int]:
    value, at = read_long(data, at)
    return from_micros(value), at


def _date(data: bytes, at: int) -> tuple[object, int]:
    value, at = read_long(data, at)
    return date.fromordinal(value + EPOCH_DAY), at


def _time(data: bytes, at: int) -> tuple[object, int]:
    value, at = read_long(data, at)
    seconds, fraction = divmod(value, 1_000_000)
    return time(seconds // 3600, seconds // 60 % 60, seconds % 60, fraction), at


def _float(data: bytes, at: int) -> tuple[object, int]:
    if at + 4 > len(data):
        raise Undecodable("a float cut short")
    return _float32(data, at)[0], at + 4


def _double(data: bytes, at: int) -> tuple[object, int]:
    if at + 8 > len(data):
        raise Undecodable("a double cut short")
    return _float64(data, at)[0], at + 8


_SCALARS: Mapping[str, AnyReader] = {
    "string": _string,
    "uuid": _string,
    "int": read_long,
    "long": read_long,
    "float": _float,
    "double": _double,
    "boolean": _boolean,
    "bytes": read_bytes,
    "timestamp": _timestamp,
    "date": _date,
    "time": _time,
}
