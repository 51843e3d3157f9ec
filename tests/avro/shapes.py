"""Hypothesis strategies for canonical types: any schema that Sorbus supports, with values that fit it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Context, Decimal
from itertools import count
from typing import NamedTuple

from hypothesis import strategies as st

from sorbus.schema import AvroType, RecordSchema, parse_schema

_EXACT = Context(prec=60)
_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


class Shape(NamedTuple):
    """An Avro type and what fits it."""

    avro: AvroType
    values: st.SearchStrategy[object]


def _decimal(precision: int, scale: int) -> Shape:
    bound = 10**precision - 1
    values = st.integers(-bound, bound).map(lambda number: Decimal(number).scaleb(-scale, _EXACT))
    return Shape({"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale}, values)


_SCALARS: dict[str, Shape] = {
    "string": Shape("string", _TEXT),
    "int": Shape("int", st.integers(-(1 << 31), (1 << 31) - 1)),
    "long": Shape("long", st.integers(-(1 << 63), (1 << 63) - 1)),
    "float": Shape("float", st.floats(width=32, allow_nan=False)),
    "double": Shape("double", st.floats(allow_nan=False)),
    "boolean": Shape("boolean", st.booleans()),
    "bytes": Shape("bytes", st.binary(max_size=12)),
    "timestamp": Shape(
        {"type": "long", "logicalType": "timestamp-micros"},
        st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC)),
    ),
    "date": Shape({"type": "int", "logicalType": "date"}, st.dates()),
    "time": Shape({"type": "long", "logicalType": "time-micros"}, st.times()),
    "uuid": Shape({"type": "string", "logicalType": "uuid"}, st.uuids().map(str)),
}


def scalars() -> st.SearchStrategy[Shape]:
    """A type that holds no others."""
    decimals = st.integers(1, 40).flatmap(lambda p: st.integers(0, p).map(lambda s: _decimal(p, s)))
    return st.sampled_from(sorted(_SCALARS)).map(_SCALARS.__getitem__) | decimals


@st.composite
def shapes(draw: st.DrawFn, names: Iterator[int], depth: int = 2) -> Shape:
    """Any supported type, lists and records inside included."""
    kind = draw(st.sampled_from(["scalar"] * 4 + (["array", "map", "record", "enum"] if depth else ["enum"])))
    if kind == "enum":
        symbols: list[AvroType] = [f"S{place}" for place in range(draw(st.integers(1, 70)))]
        made = Shape({"type": "enum", "name": f"e{next(names)}", "symbols": symbols}, st.sampled_from(symbols))
    elif kind == "array":
        item = draw(shapes(names, depth - 1))
        made = Shape({"type": "array", "items": item.avro}, st.lists(item.values, max_size=4))
    elif kind == "map":
        item = draw(shapes(names, depth - 1))
        made = Shape({"type": "map", "values": item.avro}, st.dictionaries(_TEXT, item.values, max_size=4))
    elif kind == "record":
        made = draw(_records(names, depth - 1))
    else:
        made = draw(scalars())
    if draw(st.booleans()):
        return Shape(["null", made.avro], st.none() | made.values)
    return made


@st.composite
def _records(draw: st.DrawFn, names: Iterator[int], depth: int) -> Shape:
    fields: list[AvroType] = []
    values: dict[str, st.SearchStrategy[object]] = {}
    for place in range(draw(st.integers(1, 5))):
        inner = draw(shapes(names, depth))
        fields.append({"name": f"f{place}", "type": inner.avro})
        values[f"f{place}"] = inner.values
    return Shape({"type": "record", "name": f"r{next(names)}", "fields": fields}, st.fixed_dictionaries(values))


class Example(NamedTuple):
    """A schema with a record that fits it."""

    schema: RecordSchema
    record: dict[str, object]


@st.composite
def examples(draw: st.DrawFn) -> Example:
    """Any schema with any record of it."""
    shape = draw(_records(count(), 3))
    assert isinstance(shape.avro, dict)
    record = draw(shape.values)
    assert isinstance(record, dict)
    return Example(parse_schema(shape.avro), record)


Make = Callable[[], st.SearchStrategy[Example]]
