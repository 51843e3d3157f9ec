"""The values of a row in the binary log, by column type; no I/O (MySQL source: log_event.cc, my_time.cc, decimal.c).

The same Python values as `text_values.py` makes of a query's texts: whole numbers, Decimal, float, date, datetime (with
UTC for `timestamp`), str and bytes. A date that no calendar has (0000-00-00) is its text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal
from enum import Enum
from struct import Struct
from typing import Final

from sorbus.mysql.text_values import shortest_float, time_text

Reader = Callable[[bytes, int], tuple[object, int]]
"""`(data, at) -> (value, end)`."""


class Unread(Enum):
    """A value that the log doesn't have, or not in a form that can be read exactly: its row is read by its key."""

    UNREAD = "unread"


UNREAD: Final = Unread.UNREAD
Charsets = Mapping[int, str]
"""Collation number -> character set, as the server lists them."""

_float, _double = Struct("<f").unpack_from, Struct("<d").unpack_from
_WIDE = Context(prec=80)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DIGIT_BYTES = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)
_INTEGERS = {1: 1, 2: 2, 9: 3, 3: 4, 8: 8}
NUMERIC = frozenset({*_INTEGERS, 4, 5, 13, 246})
"""Column types that the log says the sign of."""
BLOBS = frozenset({249, 250, 251, 252, 140})
TEXTS = frozenset({15, 253, 254, *BLOBS, 141})
"""Column types that have a character set (BLOB and BINARY: `binary`)."""
ENUM, SET, GEOMETRY = 247, 248, 255
_PYTHON_CODECS = {"utf8mb4": "utf-8", "utf8mb3": "utf-8", "utf8": "utf-8", "ascii": "ascii"}


class UnknownColumn(ValueError):
    """A column type whose length isn't known: the rest of the row can't be read."""


def metadata_size(kind: int) -> int:
    """How many bytes a column type has in a table's description."""
    if kind in (4, 5, 140, 245, 242, GEOMETRY, *BLOBS, 17, 18, 19):
        return 1
    return 2 if kind in (15, 16, 253, 254, 246, 141, ENUM, SET) else 0


def real_type(kind: int, meta: bytes) -> tuple[int, int]:
    """A string's own type and its length in bytes: an enum, a set and a char share one number."""
    if kind != 254:
        return kind, int.from_bytes(meta, "little")
    first, second = meta
    if first & 0x30 != 0x30:
        return first | 0x30, second | ((first & 0x30 ^ 0x30) << 4)
    return first, second


def value_reader(
    kind: int,
    meta: bytes,
    *,
    is_unsigned: bool,
    codec: Callable[[bytes], str] | None,
    is_binary: bool,
    labels: Sequence[str],
) -> Reader:
    """How a column's values are read. `codec` None: its texts can't be. UnknownColumn."""
    real, length = real_type(kind, meta)
    if real in _INTEGERS:
        return _whole(_INTEGERS[real], is_signed=not is_unsigned)
    match real:
        case 4:
            return lambda data, at: (shortest_float(_float(data, at)[0]), at + 4)
        case 5:
            return lambda data, at: (_double(data, at)[0], at + 8)
        case 246:
            return _decimal(meta[0], meta[1])
        case 10 | 14:
            return _date
        case 13:
            return lambda data, at: (1900 + data[at] if data[at] else 0, at + 1)
        case 17:
            return _timestamp(meta[0])
        case 18:
            return _datetime(meta[0])
        case 19:
            return _time(meta[0])
        case 7 | 11 | 12:  # written before MySQL 5.6: as long as this only without decimal places
            size = {7: 4, 11: 3, 12: 8}[real]
            return lambda _, at: (UNREAD, at + size)
        case 16:
            size = meta[1] + (meta[0] > 0)
            return lambda data, at: (int.from_bytes(data[at : at + size], "big"), at + size)
        case 247:
            return _enum(length & 0xFF, labels)
        case 248:
            return _set(length & 0xFF, labels)
        case 15 | 253:
            return _text(1 if length < 256 else 2, codec, is_binary=is_binary)
        case 254:
            pad = length if is_binary else 0
            return _text(1 if length < 256 else 2, codec, is_binary=is_binary, pad=pad)
        case _ if real in BLOBS - {140}:
            return _text(meta[0], codec, is_binary=is_binary)
        case 141:
            return _skipped(1 if length < 256 else 2)
        case 140 | 245 | 242 | 255:
            return _skipped(meta[0])
        case _:
            raise UnknownColumn(f"column type {real} isn't known")


def text_codec(charset: str, tables: Mapping[str, Mapping[int, str]]) -> Callable[[bytes], str] | None:
    """How a character set's bytes become text; `tables`: the 256 letters of those of one byte, from the server."""
    if name := _PYTHON_CODECS.get(charset):
        return lambda raw: raw.decode(name)
    if letters := tables.get(charset):
        return lambda raw: raw.decode("latin-1").translate(letters) if not raw.isascii() else raw.decode()
    return None


def _whole(size: int, *, is_signed: bool) -> Reader:
    def read(data: bytes, at: int) -> tuple[object, int]:
        end = at + size
        return int.from_bytes(data[at:end], "little", signed=is_signed), end

    return read


def _decimal(precision: int, scale: int) -> Reader:
    whole = precision - scale
    groups = [whole % 9] if whole % 9 else []
    groups += [9] * (whole // 9)
    places = [9] * (scale // 9) + ([scale % 9] if scale % 9 else [])
    sizes = [(_DIGIT_BYTES[digits], digits) for digits in (*groups, *places)]
    total = sum(size for size, _ in sizes)

    def read(data: bytes, at: int) -> tuple[object, int]:
        raw = bytearray(data[at : at + total])
        is_negative = not raw[0] & 0x80
        raw[0] ^= 0x80
        if is_negative:
            raw = bytearray(byte ^ 0xFF for byte in raw)
        value, place = 0, 0
        for size, digits in sizes:
            value = value * 10**digits + int.from_bytes(raw[place : place + size], "big")
            place += size
        number = Decimal(-value if is_negative else value).scaleb(-scale, _WIDE)
        return number, at + total

    return read


def _date(data: bytes, at: int) -> tuple[object, int]:
    packed = int.from_bytes(data[at : at + 3], "little")
    return date_or_text(packed >> 9, packed >> 5 & 15, packed & 31), at + 3


def date_or_text(year: int, month: int, day: int) -> date | str:
    """A date, or the text of one that no calendar has."""
    try:
        return date(year, month, day)
    except ValueError:
        return f"{year:04}-{month:02}-{day:02}"


def _fraction(data: bytes, at: int, places: int) -> tuple[int, int]:
    size = (places + 1) // 2
    return int.from_bytes(data[at : at + size], "big") * 10 ** (6 - 2 * size), at + size


def _timestamp(places: int) -> Reader:
    def read(data: bytes, at: int) -> tuple[object, int]:
        seconds = int.from_bytes(data[at : at + 4], "big")
        micros, end = _fraction(data, at + 4, places)
        if not seconds and not micros:
            return "0000-00-00 00:00:00" + ("." + "0" * places if places else ""), end
        return _EPOCH + timedelta(seconds=seconds, microseconds=micros), end

    return read


def _datetime(places: int) -> Reader:
    def read(data: bytes, at: int) -> tuple[object, int]:
        packed = int.from_bytes(data[at : at + 5], "big") - 0x8000000000
        micros, end = _fraction(data, at + 5, places)
        day, moment = packed >> 17, packed & 0x1FFFF
        year, month = divmod(day >> 5, 13)
        parts = (year, month, day & 31, moment >> 12, moment >> 6 & 63, moment & 63)
        try:
            return datetime(*parts, micros), end
        except ValueError:
            shown = "{:04}-{:02}-{:02} {:02}:{:02}:{:02}".format(*parts)
            return shown + (f".{micros:06}"[: places + 1] if places else ""), end

    return read


def _time(places: int) -> Reader:
    size = (places + 1) // 2
    offset, unit = 0x800000 << 8 * size, 10 ** (6 - 2 * size)

    def read(data: bytes, at: int) -> tuple[object, int]:
        end = at + 3 + size
        packed = int.from_bytes(data[at:end], "big") - offset
        whole, part = divmod(abs(packed), 1 << 8 * size)
        hours, minutes, seconds = whole >> 12 & 0x3FF, whole >> 6 & 63, whole & 63
        return time_text(hours, minutes, seconds, part * unit, places, is_negative=packed < 0), end

    return read


def _enum(size: int, labels: Sequence[str]) -> Reader:
    known = ["", *labels]

    def read(data: bytes, at: int) -> tuple[object, int]:
        place = int.from_bytes(data[at : at + size], "little")
        return (known[place] if place < len(known) else UNREAD), at + size

    return read


def _set(size: int, labels: Sequence[str]) -> Reader:
    def read(data: bytes, at: int) -> tuple[object, int]:
        bits = int.from_bytes(data[at : at + size], "little")
        chosen = [label for place, label in enumerate(labels) if bits >> place & 1]
        return (",".join(chosen) if not bits >> len(labels) else UNREAD), at + size

    return read


def _text(width: int, codec: Callable[[bytes], str] | None, *, is_binary: bool, pad: int = 0) -> Reader:
    def read(data: bytes, at: int) -> tuple[object, int]:
        start = at + width
        end = start + int.from_bytes(data[at:start], "little")
        raw = data[start:end]
        if len(raw) != end - start:
            raise IndexError("a value is cut short")
        if is_binary:
            return raw.ljust(pad, b"\0") if pad else raw, end
        if codec is None:
            return UNREAD, end
        try:
            return codec(raw), end
        except UnicodeDecodeError:
            return UNREAD, end

    return read


def _skipped(width: int) -> Reader:
    return lambda data, at: (UNREAD, at + width + int.from_bytes(data[at : at + width], "little"))
