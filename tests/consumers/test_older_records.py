"""A record that was written before a field was there has the field's default, whoever reads it: with its type."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime, time
from decimal import Decimal

import psycopg
import pytest

from sorbus.avro.decode import reader
from sorbus.errors import SchemaError
from sorbus.mapping.default import Defaults, encoded_default
from sorbus.mapping.record import target_maker
from sorbus.mapping.record_filter import RecordFilter
from sorbus.schema import RecordSchema
from sorbus.schema_reading import read_as
from tests.consumers.gadgets import GADGET, Record, Writer, flow_into, gadget, gadget_schema, make_tables, opened

MONEY: Record = {"type": "bytes", "logicalType": "decimal", "precision": 14, "scale": 2}
SIZE: Record = {"type": "enum", "name": "size", "symbols": ["s", "m"]}
ZERO = "00000000-0000-0000-0000-000000000000"
DEFAULTS: Mapping[str, tuple[object, object, object]] = {
    "string": ("string", "EUR", "EUR"),
    "int": ("int", 7, 7),
    "long": ("long", 7, 7),
    "double": ("double", 1.5, 1.5),
    "double, written as a whole number": ("double", 1, 1.0),
    "float": ("float", 1.5, 1.5),
    "boolean": ("boolean", True, True),
    "bytes": ("bytes", "\u00ff\u0001", b"\xff\x01"),
    "decimal": (MONEY, "\u0001\u0000", Decimal("2.56")),
    "negative decimal": (MONEY, "\u00ff", Decimal("-0.01")),
    "date": ({"type": "int", "logicalType": "date"}, 1, date(1970, 1, 2)),
    "timestamp": (
        {"type": "long", "logicalType": "timestamp-micros"},
        1_000_000,
        datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC),
    ),
    "time": ({"type": "long", "logicalType": "time-micros"}, 1_000_000, time(0, 0, 1)),
    "uuid": ({"type": "string", "logicalType": "uuid"}, ZERO, ZERO),
    "enum": (SIZE, "m", "m"),
}
"""What the newer schema says: type, default as Avro's JSON has it, and the value that this is."""


def newer(kind: str, *more: Record) -> RecordSchema:
    type, default, _ = DEFAULTS[kind]
    return gadget_schema({"name": "extra", "type": type, "default": default}, *more)


@pytest.mark.parametrize("rule", ["", "value if record.name else value"])
@pytest.mark.parametrize("kind", DEFAULTS)
def test_a_table_gets_the_default(database: str, kind: str, rule: str) -> None:
    rows = [("name", "name", ""), ("extra", "extra", rule)] if rule else ()
    flow = flow_into(database, schema=newer(kind), rows=rows)
    make_tables(flow)
    with closing(opened(flow)) as consumer:
        assert consumer.apply([Writer().delivery("1", 1, gadget("older"))]) == []
    with psycopg.connect(database) as connection:
        row = connection.execute("select extra from gadgets").fetchone()
    assert row is not None
    assert (str(row[0]) if kind == "uuid" else row[0]) == DEFAULTS[kind][2]


@pytest.mark.parametrize("kind", DEFAULTS)
def test_an_application_gets_the_default(kind: str) -> None:
    schema, expected = newer(kind), DEFAULTS[kind][2]
    make = target_maker(flow_into("postgresql://nowhere", schema=schema), "gadgets")
    written = make(Writer(schema).delivery("1", 1, gadget("newer", extra=expected)))
    assert make(Writer().delivery("1", 1, gadget("older")))["extra"] == written["extra"] == expected


@pytest.mark.parametrize("kind", DEFAULTS)
def test_a_condition_sees_the_default(kind: str) -> None:
    type, _, expected = DEFAULTS[kind]
    flow = flow_into(
        "postgresql://nowhere", schema=newer(kind, {"name": "y", "type": "size" if type == SIZE else type})
    )
    flow = replace(flow, flow=flow.flow.model_copy(update={"where": "extra == y"}))
    older = gadget_schema({"name": "y", "type": type})
    assert not RecordFilter(flow).apply(Writer(older).delivery("1", 1, gadget("older", y=expected))).is_outside


@pytest.mark.parametrize("kind", DEFAULTS)
def test_a_producer_writes_the_default_of_a_field_that_nothing_fills(kind: str) -> None:
    field = newer(kind).by_name["extra"]
    encoded = encoded_default(field)
    assert encoded is not None
    assert reader(field.type)(encoded, 0) == (DEFAULTS[kind][2], len(encoded))


@pytest.mark.parametrize(("type", "default"), [("int", "seven"), ("string", 7), ({"type": "array", "items": "int"}, 7)])
def test_a_default_that_the_field_can_not_have_is_named(type: object, default: object) -> None:
    field = gadget_schema({"name": "extra", "type": "string", "default": ""}).by_name["extra"]
    wrong = gadget_schema({"name": "extra", "type": type}).by_name["extra"].type
    with pytest.raises(SchemaError, match="field extra: its default"):
        encoded_default(replace(field, type=wrong, default=default))


SKU: Record = {"name": "sku", "type": "string"}


def lines(*more: Record, first: Record = SKU, **said: object) -> Record:
    item = {"type": "record", "name": "line", "fields": [first, *more]}
    return {"name": "lines", "type": {"type": "array", "items": item}, **said}


PRICE: Record = {"name": "price", "type": MONEY, "default": "\u0001\u0000"}


def test_items_of_a_list_get_defaults_too(database: str) -> None:
    flow = flow_into(database, schema=gadget_schema(lines(PRICE)), children={"lines": {"table": "gadget_lines"}})
    make_tables(flow)
    with closing(opened(flow)) as consumer:
        older = Writer(gadget_schema(lines())).delivery("1", 1, gadget("older", lines=[{"sku": "a"}]))
        assert consumer.apply([older]) == []
    with psycopg.connect(database) as connection:
        assert connection.execute("select sku, price from gadget_lines").fetchall() == [("a", Decimal("2.56"))]


def test_records_inside_a_record_get_defaults_too() -> None:
    inner = {
        "name": "maker",
        "type": {"type": "record", "name": "maker", "fields": [{"name": "n", "type": "int"}, PRICE]},
    }
    held = {"name": "by_name", "type": {"type": "map", "values": "maker"}}
    defaults = Defaults(gadget_schema(lines(PRICE), inner, held).fields)
    whole = {"n": 1, "price": Decimal("2.56")}
    filled = defaults.fill({"lines": [{"sku": "a"}], "maker": {"n": 1}, "by_name": {"x": {"n": 1}}}, id="1")
    assert filled["lines"] == [{"sku": "a", "price": Decimal("2.56")}]
    assert (filled["maker"], filled["by_name"], filled["id"]) == (whole, {"x": whole}, "1")


def aliased(name: str, type: object, *, alias: str) -> Record:
    return {"name": name, "type": type, "aliases": [alias]}


RENAMED: list[tuple[Record, Record, object, object]] = [
    ({"name": "old", "type": "string"}, aliased("extra", "string", alias="old"), "x", "x"),
    ({"name": "old", "type": "int"}, aliased("extra", "long", alias="old"), 7, 7),
    ({"name": "extra", "type": "string"}, {"name": "extra", "type": "bytes"}, "\u00e4", b"\xc3\xa4"),
    ({"name": "extra", "type": "bytes"}, {"name": "extra", "type": "string"}, b"\xc3\xa4", "\u00e4"),
]
"""The field as it was written and as it is read, the value written and read."""


@pytest.mark.parametrize(("was", "now", "written", "read"), RENAMED)
def test_a_field_is_read_under_its_new_name_and_type(
    database: str, was: Record, now: Record, written: object, read: object
) -> None:
    older, schema = gadget_schema(was), gadget_schema(now)
    event = Writer(older).delivery("1", 1, gadget("older", **{str(was["name"]): written}))
    event = event._replace(schema=read_as(older, schema))
    flow = flow_into(database, schema=schema)
    assert target_maker(flow, "gadgets")(event)["extra"] == read
    make_tables(flow)
    with closing(opened(flow)) as consumer:
        assert consumer.apply([event]) == []
    with psycopg.connect(database) as connection:
        assert connection.execute("select extra from gadgets").fetchall() == [(read,)]


def test_items_of_a_list_are_read_under_their_new_names() -> None:
    older, schema = gadget_schema(lines()), gadget_schema(lines(first=aliased("code", "string", alias="sku")))
    inner = read_as(older, schema).by_name["lines"].type.item
    assert inner is not None
    assert [field.name for field in inner.fields] == ["code"]
    assert read_as(schema, schema) is schema


def test_a_list_that_an_older_writer_does_not_know_is_empty(database: str) -> None:
    schema = gadget_schema(lines(default=[]))
    flow = flow_into(database, schema=schema, children={"lines": {"table": "gadget_lines"}})
    make_tables(flow)
    with closing(opened(flow)) as consumer:
        assert consumer.apply([Writer(schema).delivery("1", 1, gadget("newer", lines=[{"sku": "a"}]))]) == []
        assert consumer.apply([Writer(GADGET).delivery("1", 2, gadget("older"))]) == []
    with psycopg.connect(database) as connection:
        assert connection.execute("select sku from gadget_lines").fetchall() == []
