"""Values of rules as PostgreSQL's own text input takes them, and which canonical type a column is nearest to."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import NamedTuple

from psycopg.adapt import PyFormat, Transformer

from sorbus.consumers.postgres.cells import LENGTHS, NULL, text_cell
from sorbus.mapping.convert import Converter, converter
from sorbus.postgres.catalog import Column
from sorbus.schema import FieldType

_JSON = (114, 3802)


class CellMaker(NamedTuple):
    """`make` gives a column's cell of any value; ValueError or TypeError if it can't be. Text may go in as it is."""

    make: Callable[[object], bytes]
    takes_text: bool


def cell_maker(column: Column) -> CellMaker:
    """How values become a column's cells."""
    to_text = _text_maker(column)
    target = column_type(column)
    takes_text = column.base not in _JSON and (target is None or target.kind == "string")

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
    target, texts = column_type(column), Transformer()
    fit: Converter | None = converter(target) if target is not None else None

    def text(value: object) -> bytes:
        if fit is not None:
            value = fit(value)
        if isinstance(value, str):
            return value.encode()
        if isinstance(value, bool):
            return b"t" if value else b"f"
        if isinstance(value, Decimal):
            return format(value, "f").encode()
        if isinstance(value, bytes):
            return b"\\x" + value.hex().encode()  # psycopg's dumper would escape it as in a statement
        made = texts.get_dumper(value, PyFormat.TEXT).dump(value)
        return b"" if made is None else bytes(made)

    return _json_text if column.base in _JSON else text


def _json_text(value: object) -> bytes:
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
    if column.category == "A":
        return None
    if column.base == 1700:
        if "(" not in column.native:
            return None
        precision, _, scale = column.native.partition("(")[2].rstrip(")").partition(",")
        return FieldType("decimal", precision=int(precision), scale=int(scale))
    kind = column.kind
    return None if kind == "string" and column.base not in (25, 1042, 1043) else FieldType(kind)
