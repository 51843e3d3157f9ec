"""What may change in a schema, judged as Avro's own reader judges it."""

from __future__ import annotations

import io
from typing import cast

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sorbus.schema import AvroType, RecordSchema, parse_schema
from sorbus.schema_evolution import SchemaChange, changes_between

NAME: AvroType = {"name": "name", "type": "string", "doc": "What it is called."}
NOTE: AvroType = {"name": "note", "type": ["null", "string"], "default": None}


def schema(*fields: AvroType) -> RecordSchema:
    return parse_schema({"type": "record", "name": "thing", "fields": list(fields)})


def field(name: str, type: AvroType, **more: AvroType) -> AvroType:
    return {"name": name, "type": type, **more}


def kind(*symbols: str, **more: AvroType) -> AvroType:
    return field("kind", {"type": "enum", "name": "kind", "symbols": list(symbols), **more})


def one(before: RecordSchema, after: RecordSchema) -> SchemaChange:
    [found] = changes_between(before, after)
    return found


def test_schemas_that_read_alike_have_no_changes() -> None:
    assert changes_between(schema(NAME, NOTE), schema(NOTE, NAME)) == []


@pytest.mark.parametrize(
    ("before", "after", "backward", "forward"),
    [
        ((NAME,), (NAME, NOTE), True, True),
        ((NAME, NOTE), (NAME,), True, True),
        ((NAME,), (field("title", "string", aliases=["name"], doc="What it is called."),), True, False),
        ((NAME, NOTE), (NAME, field("remark", ["null", "string"], default=None, aliases=["note"])), True, True),
        ((NAME,), (NAME, field("size", "long")), False, True),
        ((NAME, field("size", "long")), (NAME,), True, False),
        ((field("size", "int"),), (field("size", "long"),), True, False),
        ((field("size", "long"),), (field("size", "int"),), False, True),
        ((field("size", "string"),), (field("size", "bytes"),), True, True),
        ((field("size", "int"),), (field("size", "string"),), False, False),
        ((field("size", "int"),), (field("size", ["null", "int"]),), True, False),
        ((kind("A"),), (kind("A", "B"),), True, False),
        ((kind("A", default="A"),), (kind("A", "B", default="A"),), True, True),
        ((kind("A", "B"),), (kind("A"),), False, True),
        (
            (field("sum", {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}),),
            (field("sum", {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 4}),),
            False,
            False,
        ),
        ((NAME,), (field("name", "string", doc="Another word."),), True, True),
    ],
)
def test_each_change_says_who_can_still_read_what(
    before: tuple[AvroType, ...], after: tuple[AvroType, ...], backward: bool, forward: bool
) -> None:
    change = one(schema(*before), schema(*after))
    assert (change.backward, change.forward) == (backward, forward), change
    assert change.why
    assert [change.fits(rule) for rule in ("backward", "forward", "full")] == [backward, forward, backward and forward]


def test_changes_inside_lists_of_records_are_found_by_their_path() -> None:
    def order(*fields: AvroType) -> RecordSchema:
        line: AvroType = {"type": "record", "name": "line", "fields": list(fields)}
        return schema(field("lines", {"type": "array", "items": line}))

    change = one(order(NAME), order(NAME, field("size", "long")))
    assert (change.path, change.backward) == ("lines[].size", False)


_TYPES: st.SearchStrategy[AvroType] = st.sampled_from(
    ["int", "long", "double", "string", "boolean", ["null", "int"], ["null", "string"]]
)
_FIELDS = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.tuples(_TYPES, st.booleans()), min_size=1)
_VALUES = {"int": 7, "long": 7, "double": 1.5, "string": "x", "boolean": True}


def _made(fields: dict[str, tuple[AvroType, bool]]) -> tuple[RecordSchema, dict[str, object]]:
    written, record = [], dict[str, object]()
    for name, (type, has_default) in fields.items():
        inner = type if isinstance(type, str) else cast("str", type[1])  # type: ignore[index]
        default = None if isinstance(type, list) else _VALUES[inner]
        written.append(field(name, type, **({"default": cast("AvroType", default)} if has_default else {})))
        record[name] = default  # null, where that may be: what a narrower reader can't take
    return schema(*written), record


@given(_FIELDS, _FIELDS)
def test_what_is_called_compatible_is_read_by_avro(
    older: dict[str, tuple[AvroType, bool]], newer: dict[str, tuple[AvroType, bool]]
) -> None:
    (before, old_record), (after, new_record) = _made(older), _made(newer)
    changes = changes_between(before, after)
    if all(change.backward for change in changes):
        _read(before, old_record, after)
    if all(change.forward for change in changes):
        _read(after, new_record, before)


def _read(writer: RecordSchema, record: dict[str, object], reader: RecordSchema) -> None:
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, writer.json, record)
    stream.seek(0)
    fastavro.schemaless_reader(stream, writer.json, reader.json)
