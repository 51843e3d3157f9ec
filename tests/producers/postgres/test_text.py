"""Text values of columns: the direct way to Avro equals the way through Python values, and refuses the same."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sorbus.avro.encode import NULL, SOME, encoder
from sorbus.mapping.convert import convert
from sorbus.producers.postgres.value_encoders import loader, text_encoder
from sorbus.schema import FieldType

_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
_MONEY = FieldType("decimal", precision=18, scale=4)
_NUMERIC = st.decimals(-(10**13), 10**13, allow_nan=False, places=4) | st.decimals(allow_infinity=True, allow_nan=True)


def through_python(oid: int, kind: FieldType, text: bytes | None) -> bytes | None:
    """None when it is refused."""
    try:
        return encoder(kind)(None if text is None else convert(loader(oid)(text), kind))
    except (ValueError, TypeError):
        return None


def direct(oid: int, kind: FieldType, text: bytes | None) -> bytes | None:
    try:
        return text_encoder(oid, kind)(text)
    except (ValueError, TypeError):
        return None


@pytest.mark.parametrize("nullable", [True, False])
@pytest.mark.parametrize(
    ("oid", "kind", "values"),
    [
        (25, FieldType("string"), _TEXT),
        (1043, FieldType("string"), _TEXT),
        (2950, FieldType("string"), st.uuids().map(str)),
        (2950, FieldType("uuid"), st.uuids().map(str)),
        (23, FieldType("string"), st.integers(-(1 << 31), (1 << 31) - 1).map(str)),
        (23, FieldType("int"), st.integers(-(1 << 31), (1 << 31) - 1).map(str)),
        (20, FieldType("int"), st.integers(-(1 << 63), (1 << 63) - 1).map(str)),
        (20, FieldType("long"), st.integers(-(1 << 63), (1 << 63) - 1).map(str)),
        (23, FieldType("decimal", precision=6, scale=2), st.integers(-100_000, 100_000).map(str)),
        (1700, _MONEY, _NUMERIC.map(lambda number: format(number, "f"))),
        (1700, FieldType("decimal", precision=5), st.integers(-200_000, 200_000).map(str)),
        (1700, FieldType("decimal", precision=40, scale=0), st.integers(-(10**41), 10**41).map(str)),
        (16, FieldType("boolean"), st.sampled_from("tf")),
        (17, FieldType("bytes"), st.binary(max_size=40).map(lambda raw: "\\x" + raw.hex())),
        (1082, FieldType("date"), st.dates().map(str) | st.sampled_from(["infinity", "0044-03-15 BC", "10000-01-01"])),
        (
            1184,
            FieldType("timestamp"),
            st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC)).map(
                lambda moment: moment.isoformat(" ").replace("+00:00", "+00")
            )
            | st.sampled_from(["infinity", "-infinity", "0044-03-15 00:00:00+00 BC", "10000-01-01 00:00:00+00"]),
        ),
        (701, FieldType("double"), st.floats(allow_nan=False).map(repr)),
        (3802, FieldType("boolean"), _TEXT),
    ],
)
def test_the_direct_way_equals_the_way_through_python(
    oid: int, kind: FieldType, values: st.SearchStrategy[str], nullable: bool
) -> None:
    kind = FieldType(kind.kind, nullable, kind.precision, kind.scale)

    @given(values)
    def compare(text: str) -> None:
        assert direct(oid, kind, text.encode()) == through_python(oid, kind, text.encode())

    compare()
    assert direct(oid, kind, None) == (NULL if nullable else None)


@pytest.mark.parametrize(
    ("oid", "kind", "text"),
    [
        (1700, _MONEY, b"NaN"),
        (1700, _MONEY, b"Infinity"),
        (1700, _MONEY, b"1.00001"),
        (1700, _MONEY, b"123456789012345.0000"),
        (1082, FieldType("date"), b"infinity"),
        (1184, FieldType("timestamp"), b"infinity"),
        (1114, FieldType("timestamp"), b"infinity"),
        (1114, FieldType("timestamp"), b"2026-01-01 00:00:00"),
        (23, FieldType("enum", symbols=("A",)), b"1"),
        (25, FieldType("enum", symbols=("A",)), b"B"),
        (25, FieldType("long"), b"12a"),
        (701, FieldType("float"), b"1e300"),
        (701, _MONEY, b"1.5"),
        (3802, FieldType("boolean"), b"{"),
    ],
)
def test_what_can_not_be_exact_is_refused(oid: int, kind: FieldType, text: bytes) -> None:
    with pytest.raises((ValueError, TypeError)):
        text_encoder(oid, kind)(text)


def test_unknown_types_such_as_enums_are_their_text() -> None:
    assert text_encoder(987654, FieldType("string", True))(b"happy") == SOME + b"\x0ahappy"
    assert text_encoder(987654, FieldType("enum", symbols=("sad", "happy")))(b"happy") == b"\2"


def test_json_as_text_keeps_its_letters() -> None:
    assert text_encoder(114, FieldType("string"))(b'{"a":  1.50}') == b"\x18" + b'{"a":  1.50}'


def test_a_text_array_is_a_list() -> None:
    kind = FieldType("array", item=FieldType("string", True))
    assert text_encoder(1009, kind)(b'{"a,b",NULL,"c\\"d"}') == encoder(kind)(["a,b", None, 'c"d'])


@given(st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-(10**9), max_value=10**9))
def test_numeric_as_text_is_its_own_digits(number: Decimal) -> None:
    text = format(number, "f").encode()
    assert text_encoder(1700, FieldType("string"))(text)[1:] == text
