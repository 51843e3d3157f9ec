"""The edit form: nothing changes that nobody changed, and what is wrong is said field by field."""

from __future__ import annotations

import itertools
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given

from sorbus.avro.encode import encoder
from sorbus.dlq.form import REMOVE, Field, Form
from sorbus.privacy.mask import masked_record
from sorbus.schema import parse_schema
from tests.avro.shapes import Example, examples

ORDER = parse_schema(
    {
        "type": "record",
        "name": "order",
        "fields": [
            {"name": "buyer", "type": "string", "tags": ["personal"], "doc": "Who pays."},
            {"name": "note", "type": ["null", "string"], "default": None},
            {"name": "total", "type": {"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2}},
            {"name": "status", "type": {"type": "enum", "name": "s", "symbols": ["NEW", "PAID"]}, "default": "NEW"},
            {"name": "placed_at", "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}]},
            {"name": "paid", "type": "boolean"},
            {"name": "tags", "type": {"type": "map", "values": "string"}, "default": {}},
            {
                "name": "lines",
                "type": {
                    "type": "array",
                    "items": {
                        "type": "record",
                        "name": "line",
                        "fields": [
                            {"name": "sku", "type": "string"},
                            {"name": "quantity", "type": "int", "default": 1},
                        ],
                    },
                },
            },
        ],
    }
)
RECORD: dict[str, object] = {
    "buyer": "Ada Lovelace",
    "note": "",
    "total": Decimal("12.50"),
    "status": "PAID",
    "placed_at": None,
    "paid": True,
    "tags": {"a": "b"},
    "lines": [{"sku": "S1", "quantity": 2}, {"sku": "S2", "quantity": 1}],
}


def form(hide: bool = False) -> Form:
    return Form(ORDER, RECORD, hide=hide)


def texts(fields: tuple[Field, ...]) -> dict[str, str]:
    """What a browser sends of a form that nobody touched."""
    found: dict[str, str] = {}
    for field in fields:
        if field.kind == "record":
            found |= texts(field.fields)
        elif field.kind == "array":
            found |= texts(field.items)
            assert field.blank is not None
            found |= dict.fromkeys(texts((field.blank,)), "")
        else:
            found[field.path] = field.text or ""
    return found


@pytest.mark.parametrize("hide", [False, True])
def test_a_form_that_nobody_touched_changes_nothing(hide: bool) -> None:
    parsed = form(hide).parse(texts(form(hide).fields))
    assert parsed == (RECORD, (), ())


@given(examples())
def test_any_record_comes_back_as_it_was(example: Example) -> None:
    schema, record = example.schema, example.record
    made = Form(schema, record, hide=False)
    again = made.parse(texts(made.fields))
    assert again.errors == ()
    assert again.changed == ()
    for field in schema.fields:
        assert encoder(field.type)(again.record[field.name]) == encoder(field.type)(record[field.name])


def test_a_personal_value_is_masked_and_may_be_changed_unseen() -> None:
    (buyer, *_) = form(hide=True).fields
    assert buyer.text == "A•••"
    assert buyer.doc == "Who pays."
    parsed = form(hide=True).parse({"buyer": "A•••", "note": "by phone"})
    assert parsed.record["buyer"] == "Ada Lovelace"
    assert parsed.changed == ("note",)
    assert form(hide=True).parse({"buyer": "Bo"}).record["buyer"] == "Bo"


@pytest.mark.parametrize(
    ("path", "text", "told"),
    [
        ("total", "12.505", "at most 4 digits before the point and 2 behind it"),
        ("total", "twelve", "a number"),
        ("total", "", "must have a value"),
        ("buyer", " ", "must have a value"),
        ("status", "LOST", "one of NEW, PAID"),
        ("placed_at", "yesterday", "2024-12-31T08:30:00+00:00"),
        ("placed_at", "2024-12-31T08:30:00", "with its time zone"),
        ("paid", "perhaps", "true or false"),
        ("tags", "{", "JSON"),
        ("lines[0].quantity", "many", "a whole number"),
        ("lines[0].quantity", "3000000000", "2147483647"),
        ("lines[2].quantity", "1", "must have a value"),
        ("lines[0].colour", "red", "no such field"),
        ("lines[2].colour", "red", "no such field"),
        ("colour", "red", "no such field"),
    ],
)
def test_what_is_wrong_is_said_of_its_field(path: str, text: str, told: str) -> None:
    errors = form().parse({path: text}).errors
    assert any(told in error.message for error in errors), errors
    assert all(error.path.startswith(path.partition(".")[0]) for error in errors)


def test_items_are_changed_taken_out_and_added() -> None:
    parsed = form().parse(
        {f"lines[0]{REMOVE}": "yes", "lines[1].quantity": "7", "lines[2].sku": "S3", "lines[3].sku": ""}
    )
    assert parsed.errors == ()
    assert parsed.record["lines"] == [{"sku": "S2", "quantity": 7}, {"sku": "S3", "quantity": 1}]
    assert set(parsed.changed) == {"lines[0]", "lines[1].quantity", "lines[2]"}


def test_a_record_in_json_is_read_like_the_form() -> None:
    made = form()
    document = json.loads(made.as_json())
    assert made.parse(made.texts(document)) == (RECORD, (), ())
    document |= {"total": 13, "placed_at": "2024-12-31T08:30:00Z", "lines": document["lines"][:1], "note": None}
    parsed = made.parse(made.texts(document))
    assert parsed.errors == ()
    assert parsed.record["total"] == Decimal(13)
    assert parsed.record["lines"] == [{"sku": "S1", "quantity": 2}]
    assert made.parse(made.texts({"lines": [{"colour": "red"}]})).errors != ()


TEAM = parse_schema(
    {
        "type": "record",
        "name": "team",
        "fields": [
            {"name": "title", "type": "string"},
            {"name": "mails", "type": {"type": "array", "items": "string"}, "tags": ["personal"]},
            {
                "name": "members",
                "type": {
                    "type": "array",
                    "items": {
                        "type": "record",
                        "name": "member",
                        "fields": [
                            {"name": "name", "type": "string", "tags": ["personal"]},
                            {"name": "hours", "type": "int"},
                        ],
                    },
                },
            },
            {"name": "notes", "type": {"type": "map", "values": "string"}, "tags": ["personal"]},
        ],
    }
)
PEOPLE: dict[str, Any] = {
    "title": "Sales",
    "mails": ["ada@a.de", "anna@b.de", "cy@c.org"],
    "members": [{"name": "Ada L.", "hours": 1}, {"name": "Anna K.", "hours": 2}, {"name": "Cy M.", "hours": 3}],
    "notes": {"a": "b"},
}
ORDERS = list(itertools.permutations(range(3), 3)) + list(itertools.permutations(range(3), 2))


@pytest.mark.parametrize("is_shown_masked", [True, False], ids=["editor", "show"])
@pytest.mark.parametrize("order", ORDERS, ids=str)
@pytest.mark.parametrize("name", ["mails", "members"])
def test_items_moved_unseen_are_right_or_refused(name: str, order: tuple[int, ...], is_shown_masked: bool) -> None:
    made = Form(TEAM, PEOPLE, hide=True)
    shown = json.loads(made.as_json()) if is_shown_masked else masked_record(PEOPLE, TEAM.fields)
    document = {**shown, name: [shown[name][at] for at in order]}
    parsed = made.parse(made.texts(document))
    if document == shown:
        assert parsed == (PEOPLE, (), ())
        return
    right = {**PEOPLE, name: [PEOPLE[name][at] for at in order]}
    assert parsed.record == right or any("masked value" in error.message for error in parsed.errors)
    if order == (0, 1) and is_shown_masked:
        assert (parsed.record, parsed.errors) == (right, ())


def test_a_mask_from_elsewhere_is_no_value() -> None:
    made = Form(TEAM, PEOPLE, hide=True)
    sent = {"mails[0]": "a•••@•••.org", "members[0].name": "•••", "members[1].name": "C•••", "title": "Sales •••"}
    parsed = made.parse(sent)
    assert {error.path for error in parsed.errors} == {"mails[0]", "members[0].name", "members[1].name"}
    assert made.parse({"members[0].name": "A•••", "mails[1]": "new@b.org"}).errors == ()


@pytest.mark.parametrize(
    ("values", "before", "text", "after"),
    [
        ("double", {"a": 0.1}, '{"a": 0.1, "b": 2.75}', {"a": 0.1, "b": 2.75}),
        ("bytes", {"a": b"\0\xff"}, '{"a": "0x00ff", "b": "0x01"}', {"a": b"\0\xff", "b": b"\1"}),
        ("long", {"a": 2**62 + 1}, '{"a": 4611686018427387905, "b": 1}', {"a": 2**62 + 1, "b": 1}),
        (
            {"type": "array", "items": ["null", "double"]},
            {"a": [0.1, None]},
            '{"a": [0.1, null, 1e-7]}',
            {"a": [0.1, None, 1e-7]},
        ),
    ],
)
def test_a_map_is_changed_and_its_other_values_stay(values: object, before: object, text: str, after: object) -> None:
    field = {"name": "found", "type": {"type": "map", "values": values}}
    made = Form(parse_schema({"type": "record", "name": "r", "fields": [field]}), {"found": before}, hide=False)
    parsed = made.parse({"found": text})
    assert (parsed.record, parsed.errors) == ({"found": after}, ())
    assert made.parse({"found": '{"a": "no number"}'}).errors != ()


def test_a_browsers_line_ends_change_nothing() -> None:
    made = Form(ORDER, {**RECORD, "note": "one\ntwo\rthree\r\n"}, hide=False)
    same = made.parse({"note": "one\r\ntwo\r\nthree\r\n"})
    assert (same.changed, same.record["note"]) == ((), "one\ntwo\rthree\r\n")
    assert made.parse({"note": "one\r\n2"}).record["note"] == "one\n2"


def test_what_an_older_schema_did_not_have_is_its_default() -> None:
    older = {name: value for name, value in RECORD.items() if name != "status"}
    assert Form(ORDER, older, hide=False).parse({}).record["status"] == "NEW"
