"""Our Avro encoders and readers against fastavro, both ways, and against bytes that are no Avro at all."""

from __future__ import annotations

import io
import math
import time
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

import fastavro
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sorbus.avro.decode import Undecodable, read_bytes, read_long, read_record, skip_long
from sorbus.avro.encode import encode_bytes, encode_long, encoder, micros, unscaled
from sorbus.schema import FieldType, RecordSchema, parse_schema
from tests.avro.shapes import Example, examples

_CALM = settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def encode(schema: RecordSchema, record: object) -> bytes:
    return encoder(FieldType("record", fields=schema.fields))(record)


def by_fastavro(schema: RecordSchema, record: object) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema.json, record)
    return out.getvalue()


def plain(value: object) -> object:
    """fastavro gives UUIDs as objects, our readers as the text on the wire."""
    match value:
        case UUID():
            return str(value)
        case dict():
            return {name: plain(inner) for name, inner in value.items()}
        case list():
            return [plain(inner) for inner in value]
        case _:
            return value


@_CALM
@given(examples())
def test_our_bytes_are_fastavros_bytes(example: Example) -> None:
    schema, record = example
    assert encode(schema, record) == by_fastavro(schema, record)


@_CALM
@given(examples())
def test_fastavro_reads_what_we_write_and_we_read_it_back(example: Example) -> None:
    schema, record = example
    written = encode(schema, record)
    assert plain(fastavro.schemaless_reader(io.BytesIO(written), schema.json, None)) == record
    assert read_record(schema, written) == (record, len(written))
    assert read_record(schema, b"head" + written + b"tail", 4) == (record, 4 + len(written))


@_CALM
@given(examples(), st.binary(max_size=200))
def test_garbage_is_undecodable_or_a_record_but_nothing_else(example: Example, garbage: bytes) -> None:
    try:
        _, end = read_record(example.schema, garbage)
    except Undecodable:
        return
    assert 0 <= end <= len(garbage)


@_CALM
@given(examples(), st.data())
def test_a_damaged_record_is_undecodable_or_another_record(example: Example, data: st.DataObject) -> None:
    written = bytearray(encode(example.schema, example.record))
    if written:
        written[data.draw(st.integers(0, len(written) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(written)))
    for damaged in (bytes(written), bytes(written[:cut])):
        try:
            _, end = read_record(example.schema, damaged)
        except Undecodable:
            continue
        assert end <= len(damaged)


@_CALM
@given(examples())
def test_every_cut_of_a_record_is_undecodable(example: Example) -> None:
    written = encode(example.schema, example.record)
    for cut in range(len(written)):
        with pytest.raises(Undecodable):
            read_record(example.schema, written[:cut])


@given(st.integers(-(1 << 63), (1 << 63) - 1))
def test_a_long_comes_back_and_is_skipped_exactly(value: int) -> None:
    written = encode_long(value)
    assert read_long(written, 0) == (value, len(written))
    assert skip_long(written, 0) == len(written)


@pytest.mark.parametrize("value", [1 << 63, -(1 << 63) - 1])
def test_a_number_beyond_64_bits_is_refused(value: int) -> None:
    with pytest.raises(ValueError, match="64 bits"):
        encode_long(value)


@pytest.mark.parametrize("written", [b"\xff" * 4_000_000, b"\xff" * 10 + b"\1", b"\xff" * 9 + b"\x7f"])
def test_a_number_that_does_not_end_is_given_up_at_once(written: bytes) -> None:
    begun = time.monotonic()
    with pytest.raises(Undecodable):
        read_long(written, 0)
    assert time.monotonic() - begun < 0.5


def test_a_negative_length_is_undecodable() -> None:
    with pytest.raises(Undecodable, match="negative"):
        read_bytes(encode_long(-3) + b"abc", 0)


def test_an_array_that_claims_more_items_than_bytes_is_undecodable_at_once() -> None:
    schema = parse_schema(
        {"type": "record", "name": "r", "fields": [{"name": "a", "type": {"type": "array", "items": "long"}}]}
    )
    with pytest.raises(Undecodable, match="items"):
        read_record(schema, encode_long(1 << 60))


def test_blocks_with_their_size_are_read_as_other_writers_write_them() -> None:
    schema = parse_schema(
        {"type": "record", "name": "r", "fields": [{"name": "a", "type": {"type": "array", "items": "long"}}]}
    )
    items = encode_long(7) + encode_long(8)
    blocks = encode_long(-2) + encode_long(len(items)) + items + encode_long(1) + encode_long(9) + b"\0"
    assert read_record(schema, blocks) == ({"a": [7, 8, 9]}, len(blocks))


@given(st.binary(max_size=5000))
def test_bytes_come_back(value: bytes) -> None:
    written = encode_bytes(value)
    assert read_bytes(written, 0) == (value, len(written))


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (FieldType("int"), 1 << 31),
        (FieldType("long"), 1 << 63),
        (FieldType("int"), "1"),
        (FieldType("string"), 1),
        (FieldType("string"), None),
        (FieldType("string"), "\ud800"),
        (FieldType("float"), 1e300),
        (FieldType("double"), "1.0"),
        (FieldType("boolean"), 1),
        (FieldType("bytes"), "x"),
        (FieldType("date"), datetime(2026, 1, 1, tzinfo=UTC)),
        (FieldType("timestamp"), date(2026, 1, 1)),
        (FieldType("timestamp"), datetime(2026, 1, 1)),
        (FieldType("uuid"), "not a uuid"),
        (FieldType("enum", symbols=("A", "B")), "C"),
        (FieldType("enum", symbols=("A", "B")), 1),
        (FieldType("decimal", precision=4, scale=2), Decimal("1.234")),
        (FieldType("decimal", precision=4, scale=2), Decimal("123.4")),
        (FieldType("decimal", precision=4, scale=2), Decimal("NaN")),
        (FieldType("decimal", precision=4, scale=2), Decimal("Infinity")),
        (FieldType("decimal", precision=4, scale=2), Decimal("1e999999")),
        (FieldType("decimal", precision=4, scale=2), 1.5),
        (FieldType("array", item=FieldType("string")), "text"),
        (FieldType("record"), []),
    ],
)
def test_a_value_that_does_not_fit_is_a_value_or_type_error(kind: FieldType, value: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        encoder(kind)(value)


def test_nan_and_infinities_of_a_double_come_back() -> None:
    schema = parse_schema({"type": "record", "name": "r", "fields": [{"name": "a", "type": "double"}]})
    for value in (math.inf, -math.inf, math.nan):
        found = read_record(schema, encode(schema, {"a": value}))[0]["a"]
        assert isinstance(found, float)
        assert found == value or (math.isnan(found) and math.isnan(value))


@given(st.decimals(allow_nan=False, allow_infinity=False), st.integers(1, 38), st.integers(0, 12))
def test_a_decimal_is_exact_or_refused(value: Decimal, precision: int, scale: int) -> None:
    scale = min(scale, precision)
    try:
        number = unscaled(value, precision, scale)
    except ValueError:
        return
    assert Decimal(number) == value * 10**scale or Decimal(number).scaleb(-scale) == value
    assert abs(number) < 10**precision


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1." + 5000 * "0", 100),
        ("-0." + 5000 * "0", 0),
        ("0e999999", 0),
        (5000 * "0" + "12.30", 1230),
        ("120e-1", 1200),
        ("1e-999999", "decimal places"),
        ("-1e999999", "before the decimal point"),
        ("1." + 5000 * "0" + "1", "decimal places"),
        (5000 * "9", "before the decimal point"),
    ],
)
def test_a_decimal_of_any_length_is_exact_or_refused_at_once(text: str, expected: int | str) -> None:
    value, began = Decimal(text), time.process_time()
    if isinstance(expected, int):
        assert unscaled(value, 12, 2) == expected
    else:
        with pytest.raises(ValueError, match=expected):
            unscaled(value, 12, 2)
    assert time.process_time() - began < 0.1


@given(st.datetimes(timezones=st.timezones()))
def test_microseconds_are_those_of_the_same_moment_in_utc(moment: datetime) -> None:
    try:
        in_utc = moment.astimezone(UTC)
    except OverflowError:
        return
    assert micros(moment) == micros(in_utc)
    delta = in_utc - datetime(1970, 1, 1, tzinfo=UTC)
    assert micros(moment) == delta // datetime.resolution
