"""Which columns keep less than the canonical fields that fill them: plan says so before records become dead letters.

What is read here is only declared: a column of varchar(40) may well be long enough for every name there is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import NamedTuple

from sorbus.connector import BoundFlow
from sorbus.consumers.postgres.key_kind import key_kind
from sorbus.consumers.postgres.options import PostgresTarget
from sorbus.consumers.postgres.tables import target_parts
from sorbus.postgres.catalog import Column, Table, read_table
from sorbus.postgres.connection import Connection, PostgresConnection, connect, postgres_errors
from sorbus.schema import FieldType, Kind

_BOUNDS = (files("sorbus.consumers.postgres") / "bounds.sql").read_text()
_DECLARED = re.compile(r"\((\d+)(?:,(-?\d+))?\)")
_TEXT, _NUMERIC, _MONEY, _REAL, _DOUBLE = (25, 1042, 1043), 1700, 790, 700, 701
_DIGITS = {21: 4, 23: 9, 20: 18}
"""Decimal digits that every value of an integer type has room for."""
_INTEGERS: Mapping[Kind, int] = {"int": 10, "long": 19}
_SIZES: Mapping[Kind, int] = {"int": 23, "long": 20}
_EXACT: Mapping[int, int] = {_REAL: 6, _DOUBLE: 15}
"""Decimal digits that a floating-point type keeps."""


class Lack(NamedTuple):
    """What a column can't keep, and what a person can do."""

    what: str
    fix: str


class _Bounds(NamedTuple):
    """A column's declared length or precision and scale, below its domains and as an element; None: not declared.

    `inside`: attributes of a composite type that are declared shorter; PostgreSQL rounds or cuts them in silence.
    """

    first: int | None
    second: int | None
    inside: str | None


def target_warnings(flow: BoundFlow) -> list[str]:
    """What plan warns of, each naming flow, field and column. TransientError, AuthError."""
    options = flow.options
    assert isinstance(options, PostgresTarget)
    assert isinstance(flow.system.connection, PostgresConnection)
    names = {"": options.table, **{name: child.table for name, child in options.children.items()}}
    doing = f"planning {flow.flow.id}"
    with connect(flow.system.connection, "plan", autocommit=True) as session, postgres_errors(doing):
        return [words for part, name in names.items() for words in _of_table(session, flow, part, name)]


def _of_table(session: Connection, flow: BoundFlow, part: str, name: str) -> Iterator[str]:
    table = read_table(session, name)
    if table is None:
        return  # plan says it
    if not part and (words := _alike(session, flow, table)):
        yield words
    item = flow.schema.by_name[part].type.item if part else None
    fields = {one.name: one for one in (item.fields if item else flow.schema.fields)}
    for one in target_parts(flow)[part]:
        column, field = table.columns.get(one.into), fields.get(one.source or "")
        if column is None or field is None or one.rule is not None:
            continue  # what a rule makes of a value is seen record by record
        lack = lacking(field.type, column, _bounds(session, column))
        if lack is not None:
            path = f"{flow.flow.data_type}.{part and part + '.'}{field.name}"
            yield (
                f"flow {flow.flow.id}: {path} is {str(field.type).removesuffix(' or null')},"
                f" {table.name}.{column.name} is {column.native}: {lack.what}; {lack.fix}"
            )


def _alike(session: Connection, flow: BoundFlow, table: Table) -> str | None:
    """What becomes of records whose ids differ in case or the like alone, where the key takes these for one."""
    assert isinstance(flow.options, PostgresTarget)
    if flow.options.key not in table.columns:
        return None  # plan says it
    kind = key_kind(session, table, flow.options.key)
    column, compared = kind.column, " ".join(filter(None, (kind.alike, kind.collation.as_string())))
    if (column.plain or column.native).rpartition(".")[2] != "citext" and not compared:
        return None
    what = f"{column.native} ({compared})" if compared else column.native
    return (
        f"flow {flow.flow.id}: {table.name}.{column.name}, its key, is {what}, which takes ids that differ only in case"
        " or so for one: of such records the first gets the row, and each other one becomes a dead letter; let its"
        " owner declare it as text, unless no two ids are so alike"
    )


def _bounds(session: Connection, column: Column) -> _Bounds:
    declared, inside = session.execute(_BOUNDS, {"type": column.oid}).fetchone() or (None, None)
    found = _DECLARED.search(str(declared) if declared else column.native)
    if found is None:
        return _Bounds(None, None, None if inside is None else str(inside))
    return _Bounds(int(found[1]), int(found[2]) if found[2] else None, None if inside is None else str(inside))


def lacking(kind: FieldType, column: Column, bounds: _Bounds) -> Lack | None:
    """What of a canonical type a column can't keep; None where all of it fits, or the value itself decides."""
    if bounds.inside is not None:
        return Lack(
            f"PostgreSQL rounds or cuts what is too long for {bounds.inside} in silence",
            "let its owner declare these attributes without a length",
        )
    item = kind.item if kind.kind == "array" else None
    lack = _of_value(item or kind, column, bounds)
    if lack is None or item is None:
        return lack
    return lack._replace(fix="let its owner declare it as an array whose elements have no such limit")


def _of_value(kind: FieldType, column: Column, bounds: _Bounds) -> Lack | None:
    base, first, second = column.element or column.base, bounds.first, bounds.second
    match kind.kind:
        case "string" | "enum" | "uuid":
            return _text(kind, base, first)
        case "decimal":
            return _decimal(kind, base, first, second)
        case "int" | "long":
            return _integer(kind.kind, base, first, second)
        case "double" | "float":
            return _floating(kind.kind, base, first)
        case "timestamp" | "time":
            return _moment(kind.kind, base, first)
    return None


def _widen(to: str) -> str:
    return f"let its owner run `alter table ... alter column ... type {to}`"


def _text(kind: FieldType, base: int, length: int | None) -> Lack | None:
    longest = {"enum": max(map(len, kind.symbols), default=0), "uuid": 36}.get(kind.kind)
    room, unit = {19: (63, "bytes"), 18: (1, "byte")}.get(base, (length if base in _TEXT else None, "characters"))
    if room is None or (longest is not None and longest <= room):
        return None
    return Lack(
        f"a record with more than {room} {unit} there becomes a dead letter",
        f"{_widen('text')}, or write the rule `value | truncate({room})` if the rest may be lost",
    )


def _decimal(kind: FieldType, base: int, precision: int | None, scale: int | None) -> Lack | None:
    before, after = kind.precision - kind.scale, kind.scale
    wide = f"numeric({kind.precision},{kind.scale})"
    if base == _NUMERIC and precision is not None:
        room = precision - (scale or 0), scale or 0
    elif base in _DIGITS:
        room = _DIGITS[base], 0
    elif base == _MONEY:
        room = 16, 2
    elif base in _EXACT:
        many = kind.precision > _EXACT[base]
        return Lack(f"a number of more than {_EXACT[base]} digits loses some", _widen(wide)) if many else None
    else:
        return None
    if before <= room[0] and after <= room[1]:
        return None
    round_it = f", or write the rule `value | round({room[1]})` if the rest may be lost" if after > room[1] else ""
    return Lack(
        f"a number with more than {room[0]} digits before the decimal point or {room[1]} behind it becomes a dead"
        " letter",
        f"{_widen(wide)}{round_it}",
    )


def _integer(kind: Kind, base: int, precision: int | None, scale: int | None) -> Lack | None:
    wide = "bigint" if kind == "long" else "integer"
    if base in _DIGITS:
        many = _DIGITS[base] < _DIGITS[_SIZES[kind]]
        return Lack("a larger number becomes a dead letter", _widen(wide)) if many else None
    if base == _NUMERIC and precision is not None and precision - (scale or 0) < _INTEGERS[kind]:
        words = f"a number of more than {precision - (scale or 0)} digits becomes a dead letter"
        return Lack(words, _widen(wide))
    if base in _EXACT and _EXACT[base] < _INTEGERS[kind]:
        return Lack(f"a number of more than {_EXACT[base]} digits may lose some", _widen(wide))
    return None


def _floating(kind: Kind, base: int, precision: int | None) -> Lack | None:
    if base == _REAL and kind == "double":
        return Lack("a number that 32 bits can't hold exactly becomes a dead letter", _widen("double precision"))
    if base in _DIGITS or (base == _NUMERIC and precision is not None):
        return Lack("a number with more digits becomes a dead letter", _widen("double precision"))
    return None


def _moment(kind: Kind, base: int, digits: int | None) -> Lack | None:
    if base not in (1083, 1114, 1184, 1266) or digits is None or digits >= 6:
        return None
    wide = "timestamptz" if kind == "timestamp" else "time"
    return Lack(f"a time with more than {digits} digits behind the second becomes a dead letter", _widen(wide))
