"""Avro to PostgreSQL's binary COPY cells, value by value, without Python objects in between where types allow.

A cell is a 4-byte length and the value as the type's binary input takes it (PostgreSQL documentation, COPY, "Binary
Format"; the types' recv functions). Reading functions are those of `sorbus.avro.decode`: `(data, at) -> (cell, end)`.
"""

from __future__ import annotations

from struct import Struct
from uuid import UUID

from sorbus.avro.decode import Reader, Undecodable, read_bytes, read_long
from sorbus.schema import FieldType

Cell = bytes
CellReader = Reader[bytes]

NULL = b"\xff\xff\xff\xff"
HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
_int16, pack_length, pack_long = Struct(">h").pack, Struct(">i").pack, Struct(">q").pack
_float64 = Struct(">d").pack
_numeric = Struct(">hhHh").pack
_TWO, _FOUR, EIGHT, _SIXTEEN = pack_length(2), pack_length(4), pack_length(8), pack_length(16)
LENGTHS = tuple(pack_length(size) for size in range(4096))
_MICROS_2000 = 946_684_800_000_000
_DAYS_2000 = 10_957

TEXT_OIDS = frozenset({25, 1042, 1043, 114})


def row_start(cells: int) -> bytes:
    """What a row of so many cells begins with."""
    return _int16(cells)


def text_cell(value: bytes) -> Cell:
    """UTF-8 as text, varchar, char, json or an enum's label."""
    size = len(value)
    return (LENGTHS[size] if size < 4096 else pack_length(size)) + value


def long_cell(value: int) -> Cell:
    """A bigint."""
    return EIGHT + pack_long(value)


def int_cell(value: int) -> Cell:
    """An integer."""
    return _FOUR + pack_length(value)


def numeric_cell(unscaled: int, scale: int) -> Cell:
    """A numeric of unscaled x 10^-scale: groups of four decimal digits, most significant first."""
    sign = 0x4000 if unscaled < 0 else 0
    rest = abs(unscaled)
    fill = -scale % 4
    if fill:
        rest *= 10**fill
    groups = []
    while rest:
        rest, group = divmod(rest, 10_000)
        groups.append(group)
    weight = len(groups) - (scale + fill) // 4 - 1
    while groups and not groups[0]:
        del groups[0]
    body = _numeric(len(groups), weight if groups else 0, sign if groups else 0, scale)
    body += b"".join([_int16(group) for group in reversed(groups)])
    return pack_length(len(body)) + body


def cell_reader(kind: FieldType, oid: int, scale: int | None, limit: int | None = None) -> CellReader | None:
    """How `kind` is read as a cell of type `oid`; None where there is no direct way.

    `scale`: the decimal places the column keeps, `limit`: its characters (None: all of them).
    """
    read = _reader(kind, oid, scale)
    if read is _text and limit is not None and oid in TEXT_OIDS:
        read = _limited(limit)
    if read is None or not kind.nullable:
        return read
    if read is _text:
        return _optional_text

    def optional(data: bytes, at: int) -> tuple[bytes, int]:
        branch = data[at]
        if branch == 0:
            return NULL, at + 1
        if branch != 2:
            raise Undecodable(f"union branch byte {branch}")
        return read(data, at + 1)

    return optional


NativeRead = tuple[str, bool, int, int, tuple[bytes, ...]]
"""What `sorbus.native` is told of a field: see `CellEncoder` there."""
_NATIVE = {
    ("string", 3802): "jsonb",
    ("uuid", 2950): "uuid",
    ("int", 20): "bigint",
    ("long", 20): "bigint",
    ("int", 23): "integer",
    ("double", 701): "double",
    ("boolean", 16): "boolean",
    ("bytes", 17): "text",
    ("decimal", 1700): "numeric",
    ("timestamp", 1184): "timestamp",
    ("date", 1082): "date",
}


def native_read(kind: FieldType, oid: int, scale: int | None, limit: int | None = None) -> NativeRead | None:
    """`cell_reader` for the C code; None where it has none."""
    name, most, cells = _NATIVE.get((kind.kind, oid)), -1, tuple[bytes, ...]()
    if oid in TEXT_OIDS and kind.kind in ("string", "uuid"):
        name, most = "text", -1 if limit is None else limit
    elif oid in TEXT_OIDS and kind.kind == "enum":
        name, cells = "enum", tuple(text_cell(symbol.encode()) for symbol in kind.symbols)
    elif name == "numeric":
        most = 10 ** (kind.scale - scale) if scale is not None and scale < kind.scale else 1
        name = "small" if is_small(kind) else name
    if name is None or kind.scale > 18 or most >= 1 << 63:
        return None
    return name, kind.nullable, most, kind.scale, cells


def native_skip(kind: FieldType) -> NativeRead | None:
    """`sorbus.avro.skip` for the C code; None where it has none."""
    match kind.kind:
        case "string" | "uuid" | "bytes" | "decimal":
            name = "skip bytes"
        case "int" | "long" | "timestamp" | "date" | "time" | "enum":
            name = "skip long"
        case "boolean":
            name = "skip 1"
        case "float":
            name = "skip 4"
        case "double":
            name = "skip 8"
        case _:
            return None
    return name, kind.nullable, -1, 0, ()


def _reader(kind: FieldType, oid: int, scale: int | None) -> CellReader | None:
    match kind.kind, oid:
        case "string", _ if oid in TEXT_OIDS:
            return _text
        case "string", 3802:
            return _jsonb
        case "enum", _ if oid in TEXT_OIDS:
            return _enum(kind.symbols)
        case "uuid", 2950:
            return _uuid
        case "uuid", _ if oid in TEXT_OIDS:
            return _text
        case (("int" | "long"), 20):
            return _bigint
        case "int", 23:
            return _integer
        case "double", 701:
            return _double
        case "boolean", 16:
            return _boolean
        case "bytes", 17:
            return _text
        case "decimal", 1700:
            return _decimal(kind, scale)
        case "timestamp", 1184:
            return _timestamp
        case "date", 1082:
            return _date
        case _:
            return None


def _text(data: bytes, at: int) -> tuple[bytes, int]:
    size = data[at]
    if size < 128 and not size & 1:
        at += 1
        size >>= 1
    else:
        size, at = _long_size(data, at)
    end = at + size
    return (LENGTHS[size] if size < 4096 else pack_length(size)) + data[at:end], end


def _limited(limit: int) -> CellReader:
    """A text for varchar(limit): PostgreSQL refuses one that is longer, unless only blanks are too many."""

    def read(data: bytes, at: int) -> tuple[bytes, int]:
        cell, end = _text(data, at)
        if len(cell) > limit + 4 and cell[-1] == 32:
            refuse_blanks(cell[4:], limit)
        return cell, end

    return read


def refuse_blanks(text: bytes, limit: int) -> None:
    """ValueError where a varchar(limit) would cut blanks at the end without a word."""
    value = text.decode(errors="replace")
    if len(value) > limit >= len(value.rstrip(" ")):
        raise ValueError(f"ends in blanks beyond the {limit} characters that the column keeps; write value | trim")


def _jsonb(data: bytes, at: int) -> tuple[bytes, int]:
    """A document as jsonb's binary input takes it: its version, then the text."""
    raw, end = read_bytes(data, at)
    return pack_length(len(raw) + 1) + b"\1" + raw, end


def _optional_text(data: bytes, at: int) -> tuple[bytes, int]:
    branch = data[at]
    if branch == 0:
        return NULL, at + 1
    if branch != 2:
        raise Undecodable(f"union branch byte {branch}")
    size = data[at + 1]
    if size < 128 and not size & 1:
        at += 2
        size >>= 1
    else:
        size, at = _long_size(data, at + 1)
    end = at + size
    return (LENGTHS[size] if size < 4096 else pack_length(size)) + data[at:end], end


def _long_size(data: bytes, at: int) -> tuple[int, int]:
    """A length of more than one byte. A negative one would send the reader backwards, in a list for ever."""
    size, at = read_long(data, at)
    if size < 0:
        raise Undecodable("a negative length")
    return size, at


def _enum(symbols: tuple[str, ...]) -> CellReader:
    cells = [text_cell(symbol.encode()) for symbol in symbols]

    def read(data: bytes, at: int) -> tuple[bytes, int]:
        place, at = read_long(data, at)
        if not 0 <= place < len(cells):
            raise Undecodable(f"enum symbol number {place} of {len(cells)}")
        return cells[place], at

    return read


def _uuid(data: bytes, at: int) -> tuple[bytes, int]:
    raw, at = read_bytes(data, at)
    return _SIXTEEN + UUID(raw.decode()).bytes, at


def _bigint(data: bytes, at: int) -> tuple[bytes, int]:
    value, at = read_long(data, at)
    return EIGHT + pack_long(value), at


def _integer(data: bytes, at: int) -> tuple[bytes, int]:
    value, at = read_long(data, at)
    return _FOUR + pack_length(value), at


def _double(data: bytes, at: int) -> tuple[bytes, int]:
    end = at + 8
    if end > len(data):
        raise Undecodable("a double cut short")
    return EIGHT + data[at:end][::-1], end


def _boolean(data: bytes, at: int) -> tuple[bytes, int]:
    if data[at] > 1:
        raise Undecodable(f"boolean byte {data[at]}")
    return (b"\0\0\0\1\1" if data[at] else b"\0\0\0\1\0"), at + 1


def _timestamp(data: bytes, at: int) -> tuple[bytes, int]:
    value, at = read_long(data, at)
    return EIGHT + pack_long(value - _MICROS_2000), at


def _date(data: bytes, at: int) -> tuple[bytes, int]:
    value, at = read_long(data, at)
    return _FOUR + pack_length(value - _DAYS_2000), at


def is_small(kind: FieldType) -> bool:
    """Whether a decimal's unscaled value fits a bigint: the merge makes a numeric of it, which is cheaper there."""
    return kind.kind == "decimal" and kind.precision <= 18


def _decimal(kind: FieldType, kept: int | None) -> CellReader:
    scale, small = kind.scale, is_small(kind)
    lost = 10 ** (scale - kept) if kept is not None and kept < scale else 1

    def read(data: bytes, at: int) -> tuple[bytes, int]:
        size = data[at]
        if size > 127:
            raise Undecodable("a decimal of more than 63 bytes")
        at += 1
        end = at + (size >> 1)
        value = int.from_bytes(data[at:end], "big", signed=True)
        if lost > 1 and value % lost:
            raise ValueError(f"has more than the {kept} decimal places that the column keeps")
        return EIGHT + pack_long(value) if small else numeric_cell(value, scale), end

    return read
