"""Kinds into kinds without a rule: exactly, or not at all."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import get_args
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sorbus.avro.encode import encoder
from sorbus.mapping.convert import can_convert, convert, rule_for
from sorbus.mapping.rule import compile_rule
from sorbus.schema import FieldType, Kind, SchemaField

KINDS: tuple[Kind, ...] = get_args(Kind)
D = Decimal
MONEY = FieldType("decimal", precision=9, scale=2)
STATUS = FieldType("enum", symbols=("ACTIVE", "CLOSED"))
LINE = FieldType(
    "record", fields=(SchemaField("sku", FieldType("string")), SchemaField("n", FieldType("int", nullable=True)))
)
NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)


def whole(kind: Kind, nullable: bool = False) -> FieldType:
    """A type of `kind`, its inner parts filled in."""
    return FieldType(
        kind, nullable, precision=9, scale=2, symbols=("ACTIVE", "CLOSED"), item=FieldType("int"), fields=LINE.fields
    )


@pytest.mark.parametrize(
    ("value", "to", "result"),
    [
        ("x", FieldType("string"), "x"),
        (10248, FieldType("string"), "10248"),
        (D("1.50"), FieldType("string"), "1.50"),
        (date(2026, 7, 1), FieldType("string"), "2026-07-01"),
        (UUID(int=1), FieldType("string"), str(UUID(int=1))),
        ("12", FieldType("int"), 12),
        (D("12.0"), FieldType("long"), 12),
        (7, MONEY, D(7)),
        ("7.10", MONEY, D("7.10")),
        (D("7.1000"), MONEY, D("7.1000")),
        ("123456789012.345", FieldType("decimal"), D("123456789012.345")),
        (3, FieldType("double"), 3.0),
        ("true", FieldType("boolean"), True),
        (memoryview(b"ab"), FieldType("bytes"), b"ab"),
        (datetime(2026, 7, 1, 14, tzinfo=timezone(timedelta(hours=2))), FieldType("timestamp"), NOON),
        ("2026-07-01T12:00:00Z", FieldType("timestamp"), NOON),
        ("2026-07-01", FieldType("date"), date(2026, 7, 1)),
        ("12:30:00", FieldType("time"), time(12, 30)),
        (str(UUID(int=1)), FieldType("uuid"), UUID(int=1)),
        ("ACTIVE", STATUS, "ACTIVE"),
        ((1, "2"), FieldType("array", item=FieldType("int")), [1, 2]),
        ({"a": "1"}, FieldType("map", item=FieldType("long")), {"a": 1}),
        ({"sku": 5}, LINE, {"sku": "5", "n": None}),
        (None, FieldType("int", nullable=True), None),
    ],
)
def test_a_value_becomes_what_the_field_takes(value: object, to: FieldType, result: object) -> None:
    found = convert(value, to)

    assert found == result
    assert type(found) is type(result)


@pytest.mark.parametrize(
    ("value", "to", "words"),
    [
        (None, FieldType("int"), "no value"),
        (1.5, FieldType("string"), "only by a rule"),
        (True, FieldType("string"), "only by a rule"),
        (True, FieldType("int"), "is not a valid whole number"),
        ("1.5", FieldType("int"), "is not whole"),
        (1 << 31, FieldType("int"), "is outside"),
        (-(1 << 63) - 1, FieldType("long"), "is outside"),
        (9.95, MONEY, "binary fraction"),
        (D("9.955"), MONEY, "round"),
        (D("12345678.00"), MONEY, "digits before"),
        (D("NaN"), MONEY, "not a finite number"),
        ("9,95", MONEY, "not a plain number"),
        ((1 << 53) + 1, FieldType("double"), "only by a rule"),
        (D("1.5"), FieldType("double"), "value | float"),
        (1, FieldType("boolean"), "value | boolean"),
        ("Y", FieldType("boolean"), "value | boolean"),
        ("ab", FieldType("bytes"), "is not bytes"),
        (datetime(2026, 7, 1), FieldType("timestamp"), 'datetime(tz="Europe/London")'),
        ("2026-07-01T12:00:00", FieldType("timestamp"), "no time zone"),
        (date(2026, 7, 1), FieldType("timestamp"), "value | datetime"),
        (NOON, FieldType("date"), "value | date"),
        ("01/07/2026", FieldType("date"), "ISO 8601"),
        ("nobody", FieldType("uuid"), "is not a valid UUID"),
        ("ACTIV", STATUS, "did you mean ACTIVE?"),
        ("a,b", FieldType("array", item=FieldType("string")), "is not a list"),
        ([1, "x"], FieldType("array", item=FieldType("int")), "not a plain number"),
        ({"sku": "a", "colour": "b"}, LINE, "no field 'colour'"),
        ({}, LINE, "no value"),
    ],
)
def test_what_would_lose_or_guess_is_refused_with_the_fix(value: object, to: FieldType, words: str) -> None:
    with pytest.raises(ValueError) as refused:
        convert(value, to)

    assert words in str(refused.value)


SAMPLES: dict[Kind, st.SearchStrategy[object]] = {
    "string": st.text(),
    "enum": st.sampled_from(["ACTIVE", "CLOSED"]),
    "uuid": st.uuids(),
    "int": st.integers(-(1 << 31), (1 << 31) - 1),
    "long": st.integers(-(1 << 63), (1 << 63) - 1),
    "decimal": st.decimals(-9999999, 9999999, places=2),
    "float": st.floats(width=32),
    "double": st.floats(),
    "boolean": st.booleans(),
    "bytes": st.binary(),
    "timestamp": st.datetimes(datetime(1000, 1, 1), timezones=st.timezones()),
    "date": st.dates(),
    "time": st.times(),
    "array": st.lists(st.integers(-9, 9)),
    "map": st.dictionaries(st.text(), st.integers(-9, 9)),
    "record": st.fixed_dictionaries({"sku": st.text(), "n": st.none() | st.integers(-9, 9)}),
}
ALWAYS = [(a, b) for a in KINDS for b in KINDS if can_convert(a, b)]
SOMETIMES = {
    *(("string", "enum"), ("string", "uuid"), ("long", "int"), ("int", "decimal"), ("long", "decimal")),
    *(("map", "record"), ("record", "map"), ("enum", "uuid"), ("double", "float")),
}
"""Pairs where the kind fits and a single value may be outside: another word, too large a number."""


@pytest.mark.parametrize(("source", "target"), ALWAYS)
@given(data=st.data())
def test_what_can_convert_does_and_can_be_encoded(source: Kind, target: Kind, data: st.DataObject) -> None:
    value = data.draw(SAMPLES[source])
    to = whole(target)
    try:
        made = convert(value, to)
    except ValueError:
        assert (source, target) in SOMETIMES
        return
    encoder(to)(made)


@given(value=st.one_of(*SAMPLES.values()), kind=st.sampled_from(KINDS))
def test_any_value_is_converted_to_something_that_encodes_or_refused(value: object, kind: Kind) -> None:
    try:
        made = convert(value, whole(kind))
        encoder(whole(kind))(made)
    except ValueError as refused:
        assert str(refused)  # noqa: PT017 - most values are refused


@given(value=SAMPLES["decimal"])
def test_a_decimal_survives_as_text_and_back(value: Decimal) -> None:
    assert convert(convert(value, FieldType("string")), MONEY) == value


@given(value=st.integers(-(1 << 60), 1 << 60))
def test_a_whole_number_as_a_fraction_is_the_same_or_refused(value: int) -> None:
    try:
        found = convert(value, FieldType("double"))
    except ValueError:
        assert abs(value) > 1 << 53
        return
    assert isinstance(found, float)
    assert math.isfinite(found)
    assert int(found) == value


@pytest.mark.parametrize(("source", "target"), [(a, b) for a in KINDS for b in KINDS if rule_for(a, b)])
def test_a_proposed_rule_can_be_read_and_gives_the_kind(source: Kind, target: Kind) -> None:
    rule = compile_rule(rule_for(source, target), lookups={"TABLE": {}}, value_type=source)

    assert rule.result is not None
    assert can_convert(rule.result, target) or (rule.result, target) == ("double", "float")
