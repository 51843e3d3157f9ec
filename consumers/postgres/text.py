"""Values of rules as PostgreSQL's own text input takes them, and which canonical type a column is nearest to."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple

import psycopg
from psycopg.adapt import PyFormat, Transformer

from sorbus.consumers.postgres.cells import LENGTHS, NULL, refuse_blanks, text_cell
from sorbus.mapping.convert import Converter, converter
from sorbus.mapping.errors import shown
from sorbus.postgres.catalog import KINDS, Column
from sorbus.schema import FieldType

_JSON = (114, 3802)
_CHAR, _NAME, _MONEY, _TIMESTAMP = 18, 19, 790, 1114
_DAY, _CLOCK, _OFFSET = r"\d{4,}-\d\d-\d\d", r"\d\d:\d\d:\d\d(\.\d{1,6})?", r"(Z|[+-]\d\d(:\d\d){0,2})"
_SPELLED = {
    1082: re.compile(rf"-?infinity|{_DAY}( BC)?"),
    1083: re.compile(_CLOCK),
    _TIMESTAMP: re.compile(rf"-?infinity|{_DAY}[ T]{_CLOCK}( BC)?"),
    1184: re.compile(rf"-?infinity|{_DAY}[ T]{_CLOCK}{_OFFSET}( BC)?"),
}
"""Dates and times as PostgreSQL itself writes them, which is more than Python has: infinity, BC, 24:00."""


class CellMaker(NamedTuple):
    """`make` gives a column's cell of any value; ValueError or TypeError if it can't be. Text may go in as it is."""

    make: Callable[[object], bytes]
    takes_text: bool


def cell_maker(column: Column) -> CellMaker:
    """How values become a column's cells."""
    to_text = _text_maker(column)
    target = column_type(column)
    limit = text_limit(column)
    takes_text = column.base not in (_CHAR, _NAME) and limit is None and (target is None or target.kind == "string")

    booleans = _booleans(to_text)

    def make(value: object) -> bytes:
        if value is None:
            return NULL
        if value.__class__ is bool and booleans:
            return booleans[value is True]
        if takes_text and value.__class__ is str:
            raw = value.encode()
            size = len(raw)
            return LENGTHS[size] + raw if size < 4096 else text_cell(raw)
        return text_cell(to_text(value))

    return CellMaker(make, takes_text)


def _booleans(to_text: Callable[[object], bytes]) -> tuple[bytes, bytes] | None:
    """The cells of false and true; None where the column takes neither."""
    try:
        return text_cell(to_text(False)), text_cell(to_text(True))
    except (ValueError, TypeError):
        return None


def _text_maker(column: Column) -> Callable[[object], bytes]:
    if column.base in _JSON:
        return _json_text
    text = _value_maker(column.base, column_type(column), text_limit(column))
    if not column.element:
        return text
    item = _json_text if column.element in _JSON else _value_maker(column.element, _nearest(column.element), None)
    mark = column.delimiter.encode()
    return lambda value: _array_text(value, item, mark) if isinstance(value, list) else text(value)


def _value_maker(base: int, target: FieldType | None, limit: int | None) -> Callable[[object], bytes]:
    """A value that is there as the text that type `base` takes; ValueError or TypeError if it can't be."""
    fit: Converter | None = converter(target) if target is not None else None
    spelled, texts = _SPELLED.get(base), Transformer()

    def text(value: object) -> bytes:
        if isinstance(value, str) and spelled is not None and spelled.fullmatch(value):
            return value.encode()
        if fit is not None:
            value = fit(value)
        if isinstance(value, datetime) and base == _TIMESTAMP and value.tzinfo is not None:
            value = value.astimezone(UTC).replace(tzinfo=None)  # PostgreSQL would drop the offset
        if isinstance(value, str):
            return _fitting(value, base, limit)
        if isinstance(value, bool):
            return b"t" if value else b"f"
        if isinstance(value, Decimal):
            return format(value, "f").encode()
        if isinstance(value, bytes):
            return b"\\x" + value.hex().encode()  # psycopg's dumper would escape it as in a statement
        try:
            made = texts.get_dumper(value, PyFormat.TEXT).dump(value)
        except psycopg.Error as error:  # such as a map, for which psycopg has no text
            raise ValueError(f"{shown(value)} is nothing that the column's type can be written as") from error
        return b"" if made is None else bytes(made)

    return text


def _array_text(value: list[object], item: Callable[[object], bytes], delimiter: bytes) -> bytes:
    """An array as PostgreSQL's text input takes it (documentation, 8.15.6), every element in quotes."""
    parts = []
    for one in value:
        if one is None:
            parts.append(b"NULL")
        elif isinstance(one, list):
            parts.append(_array_text(one, item, delimiter))
        else:
            parts.append(b'"' + item(one).replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"')
    return b"{" + delimiter.join(parts) + b"}"


def _fitting(value: str, base: int, limit: int | None) -> bytes:
    """A text that its column would otherwise cut without a word; ValueError."""
    raw = value.encode()
    if base == _NAME and len(raw) > 63:
        raise ValueError("is longer than the 63 bytes that a name keeps; write the rule value | truncate(63)")
    if base == _CHAR and len(raw) > 1 and not re.fullmatch(rb"\\[0-3][0-7]{2}", raw):
        raise ValueError('is longer than the single byte that a "char" keeps; write the rule value | truncate(1)')
    if limit is not None:
        refuse_blanks(raw, limit)
    return raw


def text_limit(column: Column) -> int | None:
    """The characters that a varchar(n) column keeps; None for any number, and for other types."""
    if column.oid != 1043 or "(" not in column.native:
        return None
    return int(column.native.rstrip(")").rpartition("(")[2])


def _json_text(value: object) -> bytes:
    """JSON; a text is a document already, as the column's own input takes it."""
    if isinstance(value, str):
        return value.encode()
    return json.dumps(value, default=_plain, ensure_ascii=False).encode()


def _plain(value: object) -> object:
    return value.hex() if isinstance(value, bytes) else str(value)


def column_scale(column: Column) -> int | None:
    """The decimal places that numeric(p,s) keeps; None for all."""
    if column.base != 1700 or "(" not in column.native:
        return None
    return int(column.native.rstrip(")").rpartition(",")[2])


def column_type(column: Column) -> FieldType | None:
    """The canonical type nearest to a column; None where PostgreSQL's own input decides."""
    if column.element:
        return None
    if column.base == 1700 and "(" in column.native:
        precision, _, scale = column.native.partition("(")[2].rstrip(")").partition(",")
        return FieldType("decimal", precision=int(precision), scale=int(scale))
    return _nearest(column.base)


def _nearest(base: int) -> FieldType | None:
    match base:
        case 790:
            return FieldType("decimal", precision=19, scale=2)
        case 700:
            return FieldType("float")
        case 1700:
            return None
    kind = KINDS.get(base, "string")
    return None if kind == "string" and base not in (25, 1042, 1043) else FieldType(kind)


_LOSSY = frozenset({1043, 1083, 1114, 1184, 1186, 1266, 1700})
"""Types that, declared shorter, round or truncate what is assigned to them silently."""


def checked_as(column: Column) -> str | None:
    """The declared type that a value must come out of as it went in; None where PostgreSQL refuses what doesn't fit."""
    is_own = column.oid == column.base  # a text's length and a decimal's places are known here, but not below a domain
    if column.native == column.plain or (column.element or column.base) not in _LOSSY:
        return None
    return None if is_own and column.base in (1043, 1700) else column.native
