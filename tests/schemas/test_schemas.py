"""The packaged schemas: well-formed, documented, safe to evolve, and true to any value they allow."""

from __future__ import annotations

import datetime as dt
import io
import json
from decimal import Decimal
from pathlib import Path

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sorbus.errors import SchemaError
from sorbus.schema import AvroType, FieldType, RecordSchema, SchemaField, read_schema
from sorbus.schemas import check_schema, packaged_schema, schema_files
from sorbus.schemas.reference import reference

DATA_TYPES = [
    "customer", "delivery", "employee", "invoice", "order", "payment", "product", "project", "stock_level", "work_item",
]  # fmt: skip
PERSONAL_WORDS = ("email", "phone", "mobile", "birth", "address_line", "contact_name", "family_name", "recipient_")


def test_every_data_type_of_the_core_has_a_schema() -> None:
    assert [file.stem for file in schema_files()] == DATA_TYPES


def test_an_unknown_data_type_is_refused_with_the_known_ones_named() -> None:
    with pytest.raises(SchemaError, match=r"no packaged schema 'custommer'.*customer, delivery"):
        packaged_schema("custommer")


@pytest.mark.parametrize("name", DATA_TYPES)
def test_a_schema_follows_the_rules_of_the_house(name: str) -> None:
    assert check_schema(packaged_schema(name)) == []


@pytest.mark.parametrize("name", DATA_TYPES)
def test_a_record_with_its_required_fields_alone_is_filled_with_valid_defaults(name: str) -> None:
    schema = read_schema(packaged_schema(name))
    bare = {item.name: _least(item.type) for item in schema.fields if item.required}
    parsed = fastavro.parse_schema(schema.json)
    fastavro.validate(bare | {f.name: f.default for f in schema.fields if f.has_default}, parsed, strict=True)
    read = _round_trip(schema, bare)
    assert read == bare | {item.name: item.default for item in schema.fields if item.has_default}


@pytest.mark.parametrize("name", DATA_TYPES)
def test_a_reader_of_today_reads_what_was_written_before_a_field_and_a_symbol_were_added(name: str) -> None:
    today = read_schema(packaged_schema(name))
    grown = json.loads(today.text)
    grown["fields"].append({"name": "added_later", "type": ["null", "string"], "default": None, "doc": "New."})
    enums = [f for f in grown["fields"] if isinstance(f["type"], dict) and f["type"]["type"] == "enum"]
    for item in enums:
        item["type"]["symbols"].append("ADDED_LATER")
    bare = {item.name: _least(item.type) for item in today.fields if item.required}

    new_reads_old = _read(_write(today.json, bare), today.json, grown)
    assert new_reads_old["added_later"] is None

    old_reads_new = _read(_write(grown, bare | {f["name"]: "ADDED_LATER" for f in enums}), grown, today.json)
    assert {f["name"]: old_reads_new[f["name"]] for f in enums} == {f["name"]: "UNKNOWN" for f in enums}


@pytest.mark.parametrize("name", DATA_TYPES)
def test_fields_that_speak_of_a_person_are_tagged_personal(name: str) -> None:
    for path, item in read_schema(packaged_schema(name)).leaves():
        if any(word in path for word in PERSONAL_WORDS):
            assert "personal" in item.tags, f"{name}.{path}"


@pytest.mark.parametrize("name", DATA_TYPES)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_value_a_schema_allows_survives_the_wire(name: str, data: st.DataObject) -> None:
    schema = read_schema(packaged_schema(name))
    value = data.draw(_record(schema.fields))
    assert _round_trip(schema, value) == value


def test_the_reference_is_as_the_schemas_say() -> None:
    written = (Path(__file__).parents[2] / "docs" / "data-types.md").read_text("utf-8")
    current = reference([read_schema(file) for file in schema_files()])
    assert written == current, "write it anew: python -m sorbus.schemas.reference > docs/data-types.md"


@pytest.mark.parametrize(
    ("mistake", "finding"),
    [
        (lambda s: s | {"name": "client"}, "the record is named 'client'; name it 'customer' as its file"),
        (lambda s: s | {"namespace": "acme"}, "the record's namespace isn't 'sorbus'"),
        (lambda s: s | {"doc": ""}, "the record has no doc"),
        (lambda s: s | {"fields": [{"name": "x", "type": "string"}]}, "x: no doc"),
        (
            lambda s: s | {"fields": [{"name": "x", "type": ["null", "string"], "doc": "X."}]},
            "x: may be null, so its default must be null",
        ),
        (
            lambda s: (
                s | {"fields": [{"name": "x", "type": {"type": "enum", "name": "e", "symbols": ["A"]}, "doc": "X."}]}
            ),
            "x: an enum must begin with UNKNOWN and default to it",
        ),
        (
            lambda s: s | {"fields": [f for f in s["fields"] if f["name"] != "currency"]},
            "there are amounts of money, but no field `currency`",
        ),
    ],
    ids=["name", "namespace", "record doc", "field doc", "default", "enum", "currency"],
)  # fmt: skip
def test_a_mistake_in_a_schema_is_named(mistake: object, finding: str, tmp_path: Path) -> None:
    assert callable(mistake)
    file = tmp_path / "customer.avsc"
    file.write_text(json.dumps(mistake(read_schema(packaged_schema("customer")).json)), "utf-8")
    assert check_schema(file) == [finding]


def _write(schema: dict[str, AvroType], value: object) -> bytes:
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(schema), value)
    return buffer.getvalue()


def _read(frame: bytes, written: dict[str, AvroType], reader: dict[str, AvroType]) -> dict[str, object]:
    read = fastavro.schemaless_reader(io.BytesIO(frame), fastavro.parse_schema(written), fastavro.parse_schema(reader))
    assert isinstance(read, dict)
    return read


def _round_trip(schema: RecordSchema, value: object) -> dict[str, object]:
    return _read(_write(schema.json, value), schema.json, schema.json)


def _least(kind: FieldType) -> object:
    return {"string": "", "decimal": Decimal(0)}[kind.kind]


def _record(fields: tuple[SchemaField, ...]) -> st.SearchStrategy[dict[str, object]]:
    return st.fixed_dictionaries({item.name: _value(item.type) for item in fields})


def _value(kind: FieldType) -> st.SearchStrategy[object]:
    found = _plain(kind)
    return st.none() | found if kind.nullable else found


def _plain(kind: FieldType) -> st.SearchStrategy[object]:
    match kind.kind:
        case "decimal":
            bound = 10**kind.precision - 1
            # Scaled by digits, since Decimal's own arithmetic would round at the context's precision.
            return st.integers(-bound, bound).map(lambda n: Decimal(f"{n}E-{kind.scale}"))
        case "enum":
            return st.sampled_from(kind.symbols)
        case "array":
            assert kind.item is not None
            item = _record(kind.item.fields) if kind.item.kind == "record" else _value(kind.item)
            return st.lists(item, max_size=3)
        case "map":
            assert kind.item is not None
            return st.dictionaries(st.text(max_size=5), _value(kind.item), max_size=3)
        case _:
            return {
                "string": st.text(max_size=20),
                "int": st.integers(-(2**31), 2**31 - 1),
                "boolean": st.booleans(),
                "date": st.dates(),
                "timestamp": st.datetimes(timezones=st.just(dt.UTC)),
            }[kind.kind]
