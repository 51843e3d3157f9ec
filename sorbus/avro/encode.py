"""Python values to Avro binary: one encoder per field type, built once and called per value.

fastavro needs a dict per record and walks the schema each time (10 us a record here); these are composed in advance
and avoid both. `tests/avro` compares every encoder with fastavro.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from decimal import Context, Decimal, Inexact, InvalidOperation, Rounded
from struct import Struct
from typing import TypeVar
from uuid import UUID

from sorbus.calendar_limits import EPOCH, FIRST_TICK, LAST_TICK
from sorbus.schema import FieldType

T = TypeVar("T")
Encoder = Callable[[object], bytes]

NULL, SOME = b"\0", b"\2"
EPOCH_DAY = date(1970, 1, 1).toordinal()
_POWERS = tuple(10**digits for digits in range(60))
_EXACTLY = Context(prec=100, traps=[Inexact, InvalidOperation, Rounded])
_scaled = _EXACTLY.scaleb
_float32, _float64 = Struct("<f").pack, Struct("<d").pack


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


LENGTHS = tuple(_varint(size << 1) for size in range(4096))
_TWO_MORE = tuple(bytes((part & 127 | 128, part >> 7 | 128)) for part in range(1 << 14))
_LAST = tuple(_varint(part) for part in range(1 << 14))
SOME_LENGTHS = tuple(SOME + length for length in LENGTHS)


def encode_long(value: int) -> bytes:
    """Zigzag variable-length encoding of int and long; ValueError outside 64 bits."""
    if 0 <= value < 4096:
        return LENGTHS[value]
    if not -(1 << 63) <= value < 1 << 63:
        raise ValueError(f"{value} doesn't fit into 64 bits")
    value = (value << 1) ^ (value >> 63)
    out = b""
    while value > 16383:  # two bytes of seven bits at a time, from a table
        out += _TWO_MORE[value & 16383]
        value >>= 14
    return out + _LAST[value]


def encode_bytes(value: bytes) -> bytes:
    """Length and bytes: Avro's bytes, and its string when `value` is UTF-8."""
    size = len(value)
    return (LENGTHS[size] if size < 4096 else encode_long(size)) + value


def encode_unscaled(value: int) -> bytes:
    """A decimal's unscaled integer: two's complement, big-endian, in the fewest bytes."""
    size = (value.bit_length() + 8) >> 3
    return LENGTHS[size] + value.to_bytes(size, "big", signed=True)


def unscaled(value: Decimal, precision: int, scale: int) -> int:
    """`value` in units of 10^-scale, exactly; ValueError if digits would be lost or it exceeds `precision`."""
    try:
        if -30 < value.adjusted() < 60:
            scaled = _scaled(value, scale)
            limit = _POWERS[precision] if precision < len(_POWERS) else 10**precision
            if -limit < (number := int(scaled)) < limit and scaled == number:
                return number
    except (Inexact, Rounded, InvalidOperation, ValueError, OverflowError):
        pass  # more digits than usual, or not finite: the slow path handles both
    if not value.is_finite():
        raise ValueError(f"{value} is not a number that decimal({precision},{scale}) can hold")
    sign, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    # As text: a number of all these digits, or a power of ten, may be far larger than what is left in the end.
    written = "".join(map(str, digits)).lstrip("0")
    needed = written.rstrip("0")
    shift = exponent + len(written) - len(needed) + scale
    if not needed:
        return 0
    if shift < 0:
        raise ValueError(f"{value} has more than {scale} decimal places; round it by a rule: value | round({scale})")
    if len(needed) + shift > precision:
        raise ValueError(f"{value} has more than {precision - scale} digits before the decimal point")
    number = int(needed + "0" * shift)
    return -number if sign else number


def micros(value: datetime) -> int:
    """Microseconds since 1970 (UTC), computed without floats.

    ValueError without a time zone, or outside the years 1 to 9999 in UTC, which no reader could decode.
    """
    if value.tzinfo is None:
        raise ValueError(f"{value} has no time zone; name one by a rule: value | datetime(tz='Europe/London')")
    delta = value - EPOCH
    ticks = (delta.days * 86400 + delta.seconds) * 1_000_000 + delta.microseconds
    if not FIRST_TICK <= ticks <= LAST_TICK:
        raise ValueError(f"{value.isoformat()} is outside the years 1 to 9999 in UTC")
    return ticks


def encoder(kind: FieldType) -> Encoder:
    """The function that encodes a Python value of `kind` as Avro binary; it raises ValueError or TypeError."""
    encode = _encoder(kind)
    if not kind.nullable:

        def required(value: object) -> bytes:
            if value is None:
                raise ValueError("has no value, but is required")
            return encode(value)

        return required
    return lambda value: NULL if value is None else SOME + encode(value)


def _encoder(kind: FieldType) -> Encoder:
    match kind.kind:
        case "array":
            assert kind.item is not None
            return _array(encoder(kind.item))
        case "map":
            assert kind.item is not None
            return _map(encoder(kind.item))
        case "record":
            return _record([(field.name, encoder(field.type)) for field in kind.fields])
        case "decimal":
            precision, scale = kind.precision, kind.scale
            return lambda value: encode_unscaled(unscaled(_is(value, Decimal), precision, scale))
        case "enum":
            places = {symbol: encode_long(place) for place, symbol in enumerate(kind.symbols)}

            def enum(value: object) -> bytes:
                try:
                    return places[_is(value, str)]
                except KeyError:
                    raise ValueError(f"{value!r} is not one of {', '.join(places)}") from None

            return enum
        case other:
            return _SCALARS[other]


def _array(item: Encoder) -> Encoder:
    def encode(value: object) -> bytes:
        items = _is(value, list)
        return encode_long(len(items)) + b"".join(map(item, items)) + b"\0" if items else b"\0"

    return encode


def _map(item: Encoder) -> Encoder:
    def encode(value: object) -> bytes:
        pairs = _is(value, dict)
        body = b"".join([encode_bytes(str(name).encode()) + item(inner) for name, inner in pairs.items()])
        return encode_long(len(pairs)) + body + b"\0" if pairs else b"\0"

    return encode


def _record(fields: list[tuple[str, Encoder]]) -> Encoder:
    def encode(value: object) -> bytes:
        record = _is(value, Mapping)  # type: ignore[type-abstract]
        return b"".join([encode_field(record.get(name)) for name, encode_field in fields])

    return encode


def _is(value: object, kind: type[T]) -> T:
    if not isinstance(value, kind):
        raise TypeError(f"{value!r} is not {kind.__name__}")
    return value


def _whole(low: int, high: int) -> Encoder:
    def encode(value: object) -> bytes:
        number = _is(value, int)
        if not low <= number <= high:
            raise ValueError(f"{number} is outside {low} to {high}")
        return encode_long(number)

    return encode


def _float(value: object) -> bytes:
    try:
        return _float32(_is(value, float))
    except OverflowError as error:
        raise ValueError(f"{value} doesn't fit into a float of 32 bits") from error


def _date(value: object) -> bytes:
    if isinstance(value, datetime):
        raise TypeError(f"{value!r} is a point in time, not a date")
    return encode_long(_is(value, date).toordinal() - EPOCH_DAY)


def _time(value: object) -> bytes:
    moment = _is(value, time)
    return encode_long(((moment.hour * 60 + moment.minute) * 60 + moment.second) * 1_000_000 + moment.microsecond)


_SCALARS: Mapping[str, Encoder] = {
    "string": lambda value: encode_bytes(_is(value, str).encode()),
    "int": _whole(-(1 << 31), (1 << 31) - 1),
    "long": _whole(-(1 << 63), (1 << 63) - 1),
    "float": _float,
    "double": lambda value: _float64(_is(value, float)),
    "boolean": lambda value: b"\1" if _is(value, bool) else b"\0",
    "bytes": lambda value: encode_bytes(_is(value, bytes)),
    "timestamp": lambda value: encode_long(micros(_is(value, datetime))),
    "date": _date,
    "time": _time,
    "uuid": lambda value: encode_bytes(str(value if isinstance(value, UUID) else UUID(_is(value, str))).encode()),
}
