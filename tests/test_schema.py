"""Canonical schemas: what is read from Avro, and what is refused in words that tell what to do."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings

from sorbus.errors import SchemaError
from sorbus.schema import AvroType, FieldType, parse_schema, read_schema
from tests.avro.shapes import Example, examples


def record(*fields: AvroType) -> dict[str, AvroType]:
    return {"type": "record", "name": "thing", "namespace": "x", "fields": list(fields)}


def test_types_units_and_tags_are_read() -> None:
    money: AvroType = {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}
    schema = parse_schema(
        record(
            {"name": "price", "type": ["null", money], "default": None, "doc": "Net.", "tags": ["money"]},
            {"name": "kind", "type": {"type": "enum", "name": "kind", "symbols": ["A", "B"]}},
            {"name": "other", "type": ["null", "kind"], "default": None},
            {"name": "words", "type": {"type": "array", "items": "string"}, "default": []},
        )
    )
    price, kind, other, words = schema.fields
    assert price.type == FieldType("decimal", True, 12, 2)
    assert (price.doc, price.tags, price.required, kind.required, words.required) == (
        "Net.",
        {"money"},
        False,
        True,
        False,
    )
    assert other.type == FieldType("enum", True, symbols=("A", "B"))
    assert str(price.type) == "decimal(12,2) or null"
    assert schema.by_name["words"].type.item == FieldType("string")


def test_leaves_name_the_fields_of_lists_of_records() -> None:
    line = {"type": "record", "name": "line", "fields": [{"name": "sku", "type": "string"}]}
    schema = parse_schema(
        record({"name": "id", "type": "string"}, {"name": "lines", "type": {"type": "array", "items": line}})
    )
    assert [path for path, _ in schema.leaves()] == ["id", "lines[].sku"]


@settings(max_examples=50, deadline=None)
@given(examples())
def test_a_schemas_text_is_read_as_the_same_schema(example: Example) -> None:
    again = parse_schema(example.schema.text)
    assert again == example.schema
    assert again.fingerprint == example.schema.fingerprint


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ("{", "not a valid Avro schema"),
        ("[]", "supported"),
        ('{"type": "record", "name": "r"}', "not a valid Avro schema"),
        ('"string"', "must be a record"),
        ({"type": "enum", "name": "e", "symbols": ["A"]}, "must be a record"),
        (record({"name": "a", "type": "nonsense"}), "not a valid Avro schema"),
        (record({"name": "a", "type": ["string", "null"]}), "union"),
        (record({"name": "a", "type": ["null", "string", "long"]}), "union"),
        (record({"name": "a", "type": {"type": "fixed", "name": "f", "size": 4}}), "field a"),
        (record({"name": "a", "type": {"type": "long", "logicalType": "timestamp-millis"}}), "timestamp-millis"),
    ],
)
def test_a_schema_that_cannot_be_used_is_refused_by_name(document: str | dict[str, AvroType], words: str) -> None:
    with pytest.raises(SchemaError, match=words) as refused:
        parse_schema(document, where="schemas/thing.avsc")
    assert "schemas/thing.avsc" in str(refused.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match=r"thing\.avsc.*write the schema there"):
        read_schema(tmp_path / "thing.avsc")
