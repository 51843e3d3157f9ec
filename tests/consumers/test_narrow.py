"""Columns that keep less than their fields: plan names each with its fix; what doesn't fit is refused, not changed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple

import psycopg
import pytest

from sorbus.consumers.postgres.consumer import PostgresConsumer
from sorbus.schema import AvroType
from tests.consumers.gadgets import Writer, flow_into, gadget, gadget_schema, make_tables, opened


def _decimal(precision: int, scale: int) -> AvroType:
    return {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale}


MOMENT: AvroType = {"type": "long", "logicalType": "timestamp-micros"}
TIME: AvroType = {"type": "long", "logicalType": "time-micros"}
ENUM: AvroType = {"type": "enum", "name": "size", "symbols": ["S", "enormous"]}
PRICES: AvroType = {"type": "array", "items": _decimal(9, 3)}
TEXTS: AvroType = {"type": "array", "items": "string"}
HALF = datetime(2026, 1, 2, 3, 4, 5, 500_000, UTC)


class Narrow(NamedTuple):
    """A canonical type, a column's, a value that the column can't keep, and a part of the warning."""

    kind: AvroType
    column: str
    value: object
    warning: str


NARROW = {
    "varchar": Narrow("string", "varchar(3)", "abcd", "more than 3 characters"),
    "blanks beyond a varchar": Narrow("string", "varchar(3)", "abc  ", "truncate(3)"),
    "char": Narrow("string", "char(3)", "abcd", "more than 3 characters"),
    "a domain of varchar": Narrow("string", "short_text", "abcde", "more than 4 characters"),
    "a domain of that": Narrow("string", "shorter_text", "abcde", "more than 4 characters"),
    "name": Narrow("string", "name", "x" * 64, "more than 63 bytes"),
    "one byte": Narrow("string", '"char"', "ab", "more than 1 byte"),
    "enum": Narrow(ENUM, "varchar(4)", "enormous", "more than 4 characters"),
    "numeric, scale": Narrow(_decimal(14, 3), "numeric(14,2)", Decimal("1.555"), "2 behind it"),
    "numeric, digits": Narrow(_decimal(14, 2), "numeric(5,2)", Decimal("1234.00"), "3 digits before"),
    "a domain of numeric": Narrow(_decimal(14, 3), "price", Decimal("1.555"), "2 behind it"),
    "decimal into integer": Narrow(_decimal(9, 2), "integer", Decimal("1.50"), "0 behind it"),
    "decimal into money": Narrow(_decimal(14, 4), "money", Decimal("1.2345"), "2 behind it"),
    "decimal into double": Narrow(_decimal(20, 2), "double precision", Decimal("123456789012345678.91"), "15 digits"),
    "long into integer": Narrow("long", "integer", 2**40, "larger number"),
    "long into smallint": Narrow("long", "smallint", 2**20, "larger number"),
    "int into smallint": Narrow("int", "smallint", 2**20, "larger number"),
    "long into numeric": Narrow("long", "numeric(6,0)", 12_345_678, "more than 6 digits"),
    "double into real": Narrow("double", "real", 0.123456789012, "32 bits"),
    "timestamp": Narrow(MOMENT, "timestamptz(0)", HALF, "more than 0 digits"),
    "time": Narrow(TIME, "time(0)", HALF.time(), "more than 0 digits"),
    "an array of numeric": Narrow(PRICES, "numeric(5,2)[]", [Decimal("1.555")], "2 behind it"),
    "an array of a domain": Narrow(PRICES, "price[]", [Decimal("1.555")], "2 behind it"),
    "an array of a domain of text": Narrow(TEXTS, "short_text[]", ["abcd  "], "4 characters"),
}  # fmt: skip
WIDE = {
    "text": ("string", "text", "x" * 999),
    "longest symbol": (ENUM, "varchar(8)", "enormous"),
    "as declared": (_decimal(14, 2), "numeric(14,2)", Decimal("123456789012.34")),
    "wider": (_decimal(14, 2), "numeric(16,3)", Decimal("123456789012.34")),
    "a domain without a length": (_decimal(14, 2), "amount", Decimal("123456789012.34")),
    "bigint": ("long", "bigint", 2**62),
    "an array of a domain": ({"type": "array", "items": _decimal(14, 2)}, "amount[]", [Decimal("12.34")]),
    "microseconds": (MOMENT, "timestamptz(6)", HALF),
}
TYPES = """
create domain short_text as varchar(4); create domain shorter_text as short_text; create domain price as numeric(5,2);
create domain amount as numeric; create type place as (zip varchar(5), cost numeric(5,2));
"""
REST = "id text primary key, name text, note text, price numeric, made_on date"


def test_each_narrow_column_is_told_of_and_refuses_what_does_not_fit(make_database: Callable[[str], str]) -> None:
    dsn, columns = _target(make_database, {name: case.column for name, case in NARROW.items()})
    kinds = {columns[name]: case.kind for name, case in NARROW.items()}
    schema = gadget_schema(*({"name": name, "type": ["null", kind], "default": None} for name, kind in kinds.items()))
    flow = flow_into(dsn, schema=schema, existing=True)
    make_tables(flow)
    told = PostgresConsumer.target_warnings(flow)
    assert len(told) == len(NARROW)
    writer, consumer = Writer(schema), opened(flow)
    batch = [
        writer.delivery(name, 1, gadget("x", **{**dict.fromkeys(kinds), columns[name]: case.value}))
        for name, case in NARROW.items()
    ]
    refused = {batch[one.place].id.decode(): one.error for one in consumer.apply(batch)}
    consumer.close()
    for name, case in NARROW.items():
        [words] = [one for one in told if f"gadget.{columns[name]} is " in one]
        assert case.warning in words
        assert "flow gadget-to-books" in words
        assert f"public.gadgets.{columns[name]} is " in words
        assert name in refused, f"{case.value!r} went into {case.column}: {_row(dsn, columns[name], name)}"
        assert refused[name].field == columns[name]
        assert "invalid input syntax" not in str(refused[name])
    assert _ids(dsn) == []


def test_columns_that_keep_all_are_not_told_of(make_database: Callable[[str], str]) -> None:
    dsn, columns = _target(make_database, {name: column for name, (_, column, _) in WIDE.items()})
    kinds = {columns[name]: kind for name, (kind, _, _) in WIDE.items()}
    schema = gadget_schema(*({"name": name, "type": ["null", kind], "default": None} for name, kind in kinds.items()))
    flow = flow_into(dsn, schema=schema, existing=True)
    make_tables(flow)
    assert PostgresConsumer.target_warnings(flow) == []
    writer, consumer = Writer(schema), opened(flow)
    values = {columns[name]: value for name, (_, _, value) in WIDE.items()}
    assert consumer.apply([writer.delivery("1", 1, gadget("x", **values))]) == []
    consumer.close()
    values[columns["an array of a domain"]] = "{12.34}"  # psycopg knows no arrays of domains
    assert {column: _row(dsn, column, "1") for column in values} == values


def test_attributes_of_a_composite_type_and_a_lists_table_are_told_of(make_database: Callable[[str], str]) -> None:
    dsn = make_database(f"{TYPES} create table gadgets ({REST}, place place)")
    schema = gadget_schema({"name": "place", "type": ["null", "string"], "default": None})
    [words] = PostgresConsumer.target_warnings(flow_into(dsn, schema=schema, existing=True))
    assert "gadget.place" in words
    assert "zip, cost in silence" in words


@pytest.mark.parametrize(
    ("kind", "is_told"),
    [("citext", True), ("alike", True), ("text collate alone", True), ("varchar(9)", False), ("bigint", False)],
)
def test_a_key_that_takes_ids_that_differ_in_case_for_one_is_told_of(
    make_database: Callable[[str], str], kind: str, *, is_told: bool
) -> None:
    """They overwrite each other, and the delete of one takes the other's row."""
    dsn = make_database("create extension citext; create domain alike as citext")
    with psycopg.connect(dsn) as session:
        if "collate" in kind:
            try:
                session.execute("create collation alone (provider = icu, locale = 'und', deterministic = false)")
            except psycopg.errors.FeatureNotSupported:
                pytest.skip("this server has no ICU, which alone has collations that aren't deterministic")
        session.execute(f"create table gadgets ({REST.replace('id text', f'id {kind}')})".encode())
    told = PostgresConsumer.target_warnings(flow_into(dsn, existing=True))
    assert ["public.gadgets.id, its key, is " in words for words in told] == [True] * is_told


def _target(make_database: Callable[[str], str], types: dict[str, str]) -> tuple[str, dict[str, str]]:
    """A target with a column of each type, and the columns' names."""
    columns = {name: f"c{number}" for number, name in enumerate(types)}
    declared = ", ".join(f"{columns[name]} {column}" for name, column in types.items())
    return make_database(f"{TYPES} create table gadgets ({REST}, {declared})"), columns


def _ids(dsn: str) -> list[object]:
    with psycopg.connect(dsn) as connection:
        return [id for (id,) in connection.execute("select id from gadgets")]


def _row(dsn: str, column: str, id: str) -> object:
    with psycopg.connect(dsn) as connection:
        found = connection.execute(f"select {column} from gadgets where id = %s".encode(), [id]).fetchone()
    return found and found[0]
