"""JSON values and moments."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import get_args

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sorbus.avro.encode import micros
from sorbus.calendar_limits import EPOCH
from sorbus.errors import PermanentError
from sorbus.event import confluent_prefix, event_encoder, occurred_at, open_frame
from sorbus.http_api.description import ApiField, Description, FieldKind, Moment
from sorbus.http_api.path import read_path
from sorbus.http_api.values import dump_json, load_json, read_moment, to_json, to_value, write_moment

zones = st.integers(-840, 840).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.datetimes(min_value=datetime(1000, 1, 3), max_value=datetime(9999, 12, 29), timezones=zones)
decimals = st.decimals(allow_nan=False, allow_infinity=False)
trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | decimals,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
RESOLUTION: dict[Moment, timedelta] = {
    "iso": timedelta(microseconds=1),
    "epoch-ms": timedelta(milliseconds=1),
    "ms-json": timedelta(milliseconds=1),
    "date": timedelta(days=1),
}


@pytest.mark.parametrize("moment", get_args(Moment))
@given(value=moments)
def test_a_moment_is_written_and_read_again_never_later_than_it_was(moment: Moment, value: datetime) -> None:
    again = read_moment(write_moment(value, moment), moment)
    assert again is not None
    assert timedelta(0) <= value - again < RESOLUTION.get(moment, timedelta(seconds=1))


@pytest.mark.parametrize(
    ("moment", "text", "expected"),
    [
        ("iso", "2026-11-24T01:02:03.123+02:00", datetime(2026, 11, 23, 23, 2, 3, 123000, UTC)),
        ("iso", "2026-11-24T01:02:03", datetime(2026, 11, 24, 1, 2, 3, tzinfo=UTC)),
        ("http-date", "Sun, 06 Nov 1994 08:49:37 GMT", datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)),
        ("epoch", 1573755038, datetime(2019, 11, 14, 18, 10, 38, tzinfo=UTC)),
        ("epoch-ms", "1573755038314", datetime(2019, 11, 14, 18, 10, 38, 314000, UTC)),
        ("ms-json", "/Date(1573755038314+0000)/", datetime(2019, 11, 14, 18, 10, 38, 314000, UTC)),
        ("ms-json", "/Date(-1)/", datetime(1969, 12, 31, 23, 59, 59, 999000, UTC)),
        ("slash-date", "2026-11-24 00:00:00", datetime(2026, 11, 24, tzinfo=UTC)),
        ("date", "2026-11-24", datetime(2026, 11, 24, tzinfo=UTC)),
        ("iso-bare", "2026-11-24T01:02:03", datetime(2026, 11, 24, 1, 2, 3, tzinfo=UTC)),
        ("iso-offset", "2024-11-29T10:44:51.887-0800", datetime(2024, 11, 29, 18, 44, 51, 887000, UTC)),
    ],
)
def test_the_vendors_moments_are_read(moment: Moment, text: object, expected: datetime) -> None:
    assert read_moment(text, moment) == expected


@given(value=st.datetimes(timezones=zones))
@example(datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))))
@example(datetime(9999, 12, 31, 23, 59, tzinfo=timezone(timedelta(hours=-14))))
def test_a_moment_that_is_read_can_be_an_events(value: datetime) -> None:
    """Near the ends of the calendar, an offset leads outside it: refused where it is read, not where it is used."""
    try:
        found = read_moment(value.isoformat(), "iso")
    except (ValueError, ArithmeticError):
        assert value.year in (1, 9999)
        with pytest.raises(ValueError, match="outside the years 1 to 9999"):
            micros(value)
        return
    assert found is not None
    frame, _ = event_encoder(confluent_prefix(1), "shop", "order")(b"1", 1, micros(found), micros(found), None)
    assert occurred_at(frame, open_frame(frame).at) == micros(found) == (value - EPOCH) // timedelta(microseconds=1)


@given(trees)
def test_json_keeps_every_digit(tree: object) -> None:
    text = dump_json(tree)
    assert json.loads(text, parse_float=Decimal) == load_json(text)
    assert dump_json(load_json(text)) == text


@pytest.mark.parametrize("text", ["", "[" * 100_000, "<html>", '{"a": nan}', '{"a": +1}', b"\xff"])
def test_what_isnt_json_is_a_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError):
        load_json(text)


BAD = ["NaN", "-Infinity", "1" * 5000, "1e99999999999999999999", "-1e-999999999", "1e300000", "0." + "1" * 5000,
       "[" * 300 + "]" * 300]  # fmt: skip


@pytest.mark.parametrize("kind", get_args(FieldKind))
@pytest.mark.parametrize("bad", BAD)
def test_a_value_that_nothing_can_hold_is_its_own_fields_and_costs_no_time(bad: str, kind: FieldKind) -> None:
    began = time.monotonic()
    found = load_json(f'{{"good": 1.50, "bad": {bad}}}')
    assert found["good"] == Decimal("1.50")
    json.loads(dump_json(found))
    if not bad.startswith("["):
        with pytest.raises(PermanentError, match="be represented exactly"):
            to_value(found["bad"], ApiField(kind=kind))
    with suppress(PermanentError):
        to_value(found["bad"], ApiField(kind=kind))
    assert time.monotonic() - began < 1.0


@pytest.mark.parametrize("kind", get_args(FieldKind))
@pytest.mark.parametrize("path", ["a", "a.b", "a[0].b", "a[b=1].c"])
@pytest.mark.parametrize(
    ("one", "other"), [("1", "2"), ("1", "null"), ("true", "1"), ('{"b": 1}', '{"b": 2}'), ('[{"b": 1}]', "[]")]
)
def test_a_name_with_several_values_has_none_that_counts(one: str, other: str, path: str, kind: FieldKind) -> None:
    for first, second in ((one, other), (other, one)):
        found = load_json(f'{{"a": {first}, "good": 1.50, "a": {second}}}')
        assert found["good"] == Decimal("1.50")
        json.loads(dump_json(found))
        with pytest.raises(PermanentError, match="several values of one field") as caught:
            to_value(read_path(found, path), ApiField(kind=kind))
        assert json.dumps([json.loads(first), json.loads(second)]).replace(" ", "") in str(caught.value.value)


@given(trees)
def test_a_name_that_is_repeated_with_its_value_has_it(tree: object) -> None:
    text = dump_json(tree)
    assert load_json(f'{{"a": {text}, "a": {text}}}') == {"a": load_json(text)}


def test_a_name_that_is_repeated_very_often_costs_no_time() -> None:
    began = time.monotonic()
    load_json("{" + ",".join(f'"a":{number}' for number in range(100_000)) + "}")
    assert time.monotonic() - began < 2.0


@given(st.text(st.characters(categories=["Cs", "Lu", "Cc", "So"])))
def test_half_an_emoji_is_written_as_json_that_can_be_sent(text: str) -> None:
    # In JSON, two halves side by side are the whole.
    paired = text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    assert load_json(dump_json({"a": text}).encode()) == {"a": paired}


@pytest.mark.parametrize(
    ("kind", "raw", "value"),
    [
        ("text", 12, "12"),
        ("text", "", None),
        ("integer", "12", 12),
        ("integer", Decimal("12.00"), 12),
        ("decimal", "19.90", Decimal("19.90")),
        ("decimal", Decimal("0.1"), Decimal("0.1")),
        ("number", Decimal("1.5"), 1.5),
        ("boolean", "0", False),
        ("boolean", True, True),
        ("date", "2026-11-24T00:00:00", date(2026, 11, 24)),
        ("epoch", 0, datetime(1970, 1, 1, tzinfo=UTC)),
        ("decimal", "", None),
        ("date", None, None),
    ],
)
def test_a_field_becomes_what_its_kind_says(kind: FieldKind, raw: object, value: object) -> None:
    found = to_value(raw, ApiField(kind=kind))
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize("kind", [kind for kind in get_args(FieldKind) if kind != "text"])
@given(raw=trees)
def test_any_value_is_read_or_refused(kind: FieldKind, raw: object) -> None:
    with suppress(PermanentError):
        to_value(raw, ApiField(kind=kind))


def test_what_python_holds_is_written_as_the_field_wants_it() -> None:
    at = datetime(2026, 11, 24, 12, tzinfo=timezone(timedelta(hours=2)))
    written = {kind: to_json(at, ApiField(kind=kind)) for kind in ("datetime", "epoch", "ms-json", "date", "text")}
    assert written == {
        "datetime": "2026-11-24T10:00:00Z",
        "epoch": 1795514400,
        "ms-json": "/Date(1795514400000+0000)/",
        "date": "2026-11-24",
        "text": "2026-11-24T10:00:00Z",
    }
    assert dump_json(to_json("19.90", ApiField(kind="decimal"))) == "19.90"
    assert to_json({"day": date(2026, 1, 2)}, ApiField(kind="object")) == {"day": "2026-01-02"}


@pytest.mark.parametrize("kind", [kind for kind in get_args(FieldKind) if kind != "boolean"])
def test_what_stands_for_none_is_none_in_every_field_but_a_boolean(kind: FieldKind) -> None:
    fields = {"x": {"kind": kind}, "yes": {"kind": "boolean"}, "own": {"kind": kind, "empty": ["-"]}}
    written = {"api": "odoo", "title": "Odoo", "empty": [False], "resources": {"things": {"fields": fields}}}
    things = Description.model_validate(written).resources["things"]
    assert to_value(False, things.fields["x"]) is None
    assert to_value(False, things.fields["yes"]) is False
    assert to_value("-", things.fields["own"]) is None
    if kind == "integer":
        assert to_value(0, things.fields["x"]) == 0


def test_too_long_and_unknown_values_are_refused_before_they_are_sent() -> None:
    with pytest.raises(PermanentError, match="has 6 characters, but the field takes 5"):
        to_json("sorbus", ApiField(largest=5))
    with pytest.raises(PermanentError, match="isn't one of ACTIVE, ARCHIVED"):
        to_json("GONE", ApiField(values=["ACTIVE", "ARCHIVED"]))


@pytest.mark.parametrize(
    ("written", "read"),
    [(b"two\nlines", "two\nlines"), (b"a\ttab", "a\ttab"), (b"Caf\xe9", "Caf\udce9"), ("Café".encode(), "Café")],
)
def test_text_that_is_written_wrongly_is_read_where_that_is_asked_for(written: bytes, read: str) -> None:
    body = b'{"name": "%b", "city": "Oulu"}' % written
    assert load_json(body, broken_text=True) == {"name": read, "city": "Oulu"}
    if read != "Café":
        with pytest.raises(ValueError, match=r"Invalid|utf-8"):
            load_json(body)
