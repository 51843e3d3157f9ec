"""Masked values: recognisable, not readable, and the same when masked again."""

from __future__ import annotations

import html
import json
import re
import time
import unicodedata
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sorbus.privacy.mask import masked, masked_record, masked_text, personal_values
from sorbus.privacy.ordinary import ORDINARY
from sorbus.privacy.readings import folded, readings
from sorbus.privacy.words import without
from sorbus.schema import parse_schema

SCHEMA = parse_schema(
    json.dumps(
        {
            "type": "record",
            "name": "thing",
            "fields": [
                {"name": "name", "type": "string", "tags": ["personal"]},
                {"name": "price", "type": "int"},
                {"name": "born", "type": ["null", {"type": "int", "logicalType": "date"}], "tags": ["personal"]},
                {
                    "name": "lines",
                    "type": {
                        "type": "array",
                        "items": {
                            "type": "record",
                            "name": "line",
                            "fields": [
                                {"name": "sku", "type": "string"},
                                {"name": "for_whom", "type": "string", "tags": ["personal"]},
                            ],
                        },
                    },
                },
            ],
        }
    )
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("anna@example.de", "a•••@•••.de"),
        ("a@example.company", "a•••@•••.•••"),
        ("Bo", "•••"),
        ("Brandt", "B•••"),
        ("Brandt & Sons, Leeds", "B••••••"),
        ("x" * 64, "x•••••••••"),
        ("田中太郎さん", "•••"),
        ("+49 30 1234567", "+•••"),
        ("0301234567", "•••"),
        (date(1990, 1, 2), "•••"),
        (17, "•••"),
        (True, "•••"),
        (None, None),
        ("", ""),
        ({"street": "Long Lane", "parts": ["Yard", 3]}, {"street": "L•••", "parts": ["Y•••", "•••"]}),
    ],
)
def test_a_value_is_masked_as_the_table_says(value: object, expected: object) -> None:
    assert masked(value) == expected


@given(st.text(max_size=90) | st.emails())
def test_masking_twice_changes_nothing_and_shows_next_to_nothing(text: str) -> None:
    once = masked_text(text)
    assert masked_text(once) == once
    assert len(once.replace("•", "").replace("@", "").replace(".", "")) <= 4 or once == text == ""


def test_a_records_personal_fields_are_masked_those_of_its_lists_too_and_what_no_schema_knows() -> None:
    record = {"name": "Brandt", "price": 5, "born": None, "lines": [{"sku": "a-1", "for_whom": "Carla"}], "new": "x"}
    assert masked_record(record, SCHEMA.fields) == {
        "name": "B•••",
        "price": 5,
        "born": None,
        "lines": [{"sku": "a-1", "for_whom": "C•••"}],
        "new": "•••",
    }
    assert list(personal_values(record, SCHEMA.fields)) == ["Brandt", "Carla"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Brandt Leeds is too long", "B••• is too long"),
        ("no customer 'LEEDS' here", "no customer 'L•••' here"),
        ("new row; Failing row contains (g1, Brandt (x), 5).", "new row; Failing row contains (•••)."),
        ("Key (email)=(a@b.de) already exists.", "Key (email)=(•••) already exists."),
        ("it names anna.b@example.org.", "it names a•••@•••.org."),
        ("brandt leeds of the old m… was cut", "b••••••… was cut"),
    ],
)
def test_values_are_masked_wherever_a_text_quotes_them(text: str, expected: str) -> None:
    assert without(text, ["Brandt Leeds", "Brandt Leeds of the Old Mill Road"]) == expected


def test_all_that_is_quoted_is_masked_where_any_field_may_be_meant_but_names() -> None:
    told = 'field name: "Carla" isn\'t of kind \'int\'; column "short_name" of relation "gadgets", „Dora“'
    masked_told = without(told, [], keep=["int"], quotes=True)
    assert masked_told == told.replace("Carla", "C•••").replace("Dora", "D•••")


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        ('name can\'t contain "Forbidden"', ["Anna Brandt"], None),
        ('name can\'t contain "<" or „//“', ["Anna Brandt"], None),
        ('name can\'t contain "Frau"', ["Frau Anna Brandt"], 'name can\'t contain "F•••"'),
        ('name can\'t contain "Carla"', ["Anna Brandt"], 'name can\'t contain "C•••"'),
        ('"Default region" is not in the list', ["Default Lane 5"], None),
        ("Field name is required", ["Anna Field"], None),
        ("the last name of the contact is missing", ["Name Contact-Last"], None),
        ("no contact Field; a field is wrong", ["Field"], "no contact F•••; a field is wrong"),
        ("remaining domain maintenance", ["Main"], None),
        ("Main and MAIN and Mainau", ["Main"], "M••• and M••• and M•••au"),
        ("at most 255 characters; 17 given", ["Ng", 4], None),
        ('"47111" isn\'t a number', ["0711 / 4711-1"], '"•••" isn\'t a number'),
        (
            "used by «Carla Mint» in the field 'email address'",
            ["Brandt"],
            "used by «C•••» in the field 'email address'",
        ),
        ("田中さんの住所", ["田中さん"], "•••の住所"),
    ],
)
def test_ordinary_words_of_a_message_stay_and_values_do_not(
    text: str, values: list[object], expected: str | None
) -> None:
    assert without(text, values, quotes=True) == (text if expected is None else expected)


@pytest.mark.parametrize(
    ("value", "text", "expected"),
    [
        ("ann.lee@x.io", "GET /people?email=ann.lee%40x.io answered 404", "GET /people?email=a••• answered 404"),
        ("Xanthippe Qwertz", "?name=Xanthippe%20Qwertz&page=2", "?name=X••••••&page=2"),
        ("Xanthippe Qwertz", "?name=Xanthippe+Qwertz", "?name=X•••+Q•••"),
        ("Müllerin", "?name=M%C3%BCllerin", "?name=M•••"),
        ("Müllerin", "?name=M%FCllerin", "?name=M•••"),
        ("Müllerin", "Mu\u0308llerin is taken", "M••• is taken"),
        ("Mu\u0308llerin", "Müllerin is taken", "M••• is taken"),
        ("Müllerin", "MULLERIN is taken", "M••• is taken"),
        ("Müllerin", "M&uuml;llerin, M&#252;llerin and M&#xfc;llerin", "M•••, M••• and M•••"),
        ("Müllerin", '{"text": "M\\u00fcllerin \\\\u00fc"}', '{"text": "M••• \\\\u00fc"}'),
        ("Müllerin", 'sent {\\\\"name\\\\": \\\\"M\\\\u00fcllerin\\\\"}', None),
        ("Straßer & Söhne", "STRASSER & SÖHNE is taken", "S•••••• is taken"),
        ("O'Briennes", "O&#39;Briennes or O\\'Briennes or O\\u0027Briennes", "O••• or O••• or O•••"),
        ("Ｙａｍａｄａ", "no Yamada here", "no Y••• here"),
        ("Vexillumannsberger", "Vexillumanns… is too long", "V•••… is too long"),
        ("Vexillumannsberger", "too long: Vexillumann", "too long: V•••"),
        ("Herr Vexillumannsberger", "too long: Vexill...", "too long: V•••..."),
        ("Maintenon", "what remains is mainte", "what remains is m•••"),
        (Decimal("52000.00"), "52000 is above 1,000, so are 52,000.00, 52.000,0 and 52'000", None),
        (52000, "52000.0 is above 51999.5", "••• is above 51999.5"),
        (-52000.5, "52,000.50 is too much", "••• is too much"),
        (datetime(2026, 1, 2, 10, tzinfo=UTC), "since 2026-01-02T10:00:00Z", "since ••••••Z"),
        (date(1990, 1, 2), "born 1990-01-02T00:00:00", "born •••T00:00:00"),
        (b"Xanthippe", "has \\x58616e746869707065, WGFudGhpcHBl and Xanthippe", "has \\x••••••, W••• and X•••"),
    ],
)
def test_a_value_is_found_however_it_is_written(value: object, text: str, expected: str | None) -> None:
    told = without(text, [value])
    assert without(told, [value]) == told
    if expected is not None:
        assert told == expected
    for part in ("llerin", "52000", "52,000", "52.000", "52'000"):
        assert part not in told


WRITTEN: list[Callable[[str], str]] = [
    str.upper,
    str.casefold,
    quote,
    lambda value: quote(value, safe=""),
    lambda value: json.dumps(value),
    lambda value: json.dumps({"inner": json.dumps({"name": value})}),
    html.escape,
    lambda value: value.encode("ascii", "xmlcharrefreplace").decode(),
    lambda value: unicodedata.normalize("NFD", value),
    lambda value: unicodedata.normalize("NFKC", value),
    lambda value: f"{value[:-1]}…",
    lambda value: quote(value[:-1]),
]


@given(st.text("qxzjkvwüßéñŁ-' &/", min_size=6, max_size=24), st.sampled_from(WRITTEN))
def test_no_word_of_a_value_survives_an_encoding(value: str, write: Callable[[str], str]) -> None:
    words = re.findall(r"[^\W_]{5,}", value)
    told = readings(without(f"it rejects {write(value.strip())}", [value]))
    assert not [word for word in words for each in told if folded(word) in each.text]


def test_ten_thousand_records_are_masked_out_of_a_message_before_anybody_waits() -> None:
    values = [f"{first} {number:x}{last}" for number in range(20_000) for first, last in (("Anna", "x"), ("Bert", "y"))]
    told = 'connection to server at "127.0.0.1", port 5432 failed: Connection refused; not Anna 4e1fx'
    began = time.process_time()
    assert without(told, values).endswith("not A•••")
    without("a" * 40_000, ["aaaa"])
    assert time.process_time() - began < 5


MESSAGES = st.lists(st.sampled_from(sorted(ORDINARY)), min_size=1, max_size=12).map(" ".join)
NAMES = st.text(alphabet="qxzjkvwü-' ", min_size=4, max_size=30).filter(lambda name: len(name.strip()) > 3)
VALUES = NAMES | st.sampled_from(["Field", "Name", "First", "Last", "Value"]) | st.integers(10_000, 10**9)


@given(MESSAGES, MESSAGES, st.lists(VALUES, min_size=1, max_size=3), st.sampled_from(["{}", '"{}"', "({})", "„{}“"]))
def test_a_value_never_survives_and_a_message_without_one_stays(
    before: str, after: str, values: list[object], way: str
) -> None:
    plain = f'{before} "{after}" {after}.'
    assert without(plain, values, quotes=True) == plain
    for value in values:
        written = str(value).strip()
        told = without(f"{before} {way.format(written)} {after}", values, quotes=True)
        assert re.search(rf"(?<!\w){re.escape(written)}(?!\w)", told) is None


TEXT = st.text(alphabet=st.sampled_from("abc 'é\"@.,()=…-"), max_size=40)


@given(TEXT, st.lists(st.text(alphabet="abcé -", min_size=4, max_size=20), max_size=4), st.booleans())
def test_a_text_masked_twice_is_the_same_and_holds_no_value(text: str, values: list[str], quotes: bool) -> None:
    told = without(f"{text} {' '.join(values)}", values, quotes=quotes)
    assert without(told, values, quotes=quotes) == told
    assert not any(value.strip() in told for value in values if len(value.strip()) > 3)
