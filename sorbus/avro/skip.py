"""Where an encoded value ends, without decoding it."""

from __future__ import annotations

from collections.abc import Callable

from sorbus.avro.decode import Undecodable, read_long, reader, skip_long
from sorbus.schema import FieldType

Skip = Callable[[bytes, int], int]


def skipper(kind: FieldType) -> Skip:
    """The function that returns a value's end; skipped bytes are checked only for length."""
    skip = _skipper(kind)
    if not kind.nullable:
        return skip

    def optional(data: bytes, at: int) -> int:
        branch = data[at]
        if branch == 2:
            return skip(data, at + 1)
        if branch:
            raise Undecodable(f"union branch byte {branch}")
        return at + 1

    return optional


def _skipper(kind: FieldType) -> Skip:
    match kind.kind:
        case "string" | "uuid" | "bytes" | "decimal":
            return _bytes
        case "int" | "long" | "timestamp" | "date" | "time" | "enum":
            return skip_long
        case "boolean":
            return lambda _data, at: at + 1
        case "float":
            return lambda _data, at: at + 4
        case "double":
            return lambda _data, at: at + 8
        case _:
            read = reader(FieldType(kind.kind, item=kind.item, fields=kind.fields))
            return lambda data, at: read(data, at)[1]


def _bytes(data: bytes, at: int) -> int:
    size = data[at]
    if size < 128 and not size & 1:
        return at + 1 + (size >> 1)
    size, at = read_long(data, at)
    if size < 0:
        raise Undecodable("a negative length")
    return at + size
