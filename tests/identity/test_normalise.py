"""How the values of match keys compare."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sorbus.identity.normalise import Form, form_of, may_differ, normalise
from sorbus.schema import FieldType, SchemaField, read_schema
from sorbus.schemas import packaged_schema

FORMS: tuple[Form, ...] = get_args(Form)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("form", "one", "other"),
    [
        ("email", " Accounts@Larkspur.Example ", "accounts@larkspur.example"),
        ("email", "ｂilling@larkspur.example", "billing@larkspur.example"),
        ("phone", "+44 (0)20 7946-0123", "0044 20 79460123"),
        ("phone", "020 7946 0123 ext. 7", "02079460123"),
        ("code", "de 123.456.789", "DE123456789"),
        ("code", "AB-12/c", "ab 12 C"),
        ("web", "https://www.Larkspur.example/", "larkspur.example"),
        ("web", "http://larkspur.example:80/shop?from=mail", "LARKSPUR.example/shop/"),
        ("name", "Larkspur  Trading, Ltd.", "larkspur trading ltd"),
        ("name", "Straße & Söhne", "STRASSE SÖHNE"),
        ("number", Decimal("1.10"), "1.1"),
        ("number", 7, 7.0),
        ("number", Decimal("12345678901234567890123456789012.340"), "12345678901234567890123456789012.34"),
        ("text", " Oak\u00a0Table ", "oak table"),
        ("text", NOON, NOON.astimezone(timezone(timedelta(hours=5)))),
        ("text", date(2026, 3, 1), "2026-03-01"),
    ],
)
def test_these_are_the_same(form: Form, one: object, other: object) -> None:
    assert normalise(form, one) == normalise(form, other)
    assert normalise(form, one) is not None


@pytest.mark.parametrize(
    ("form", "one", "other"),
    [
        ("email", "j.smith@mail.example", "jsmith@mail.example"),
        ("email", "a+b@mail.example", "a@mail.example"),
        ("email", "weiß@mail.example", "weiss@mail.example"),
        ("web", "https://straße.example", "strasse.example"),
        ("code", "00123", "123"),
        ("number", Decimal("1234567890123456789012345678901.23"), Decimal("1234567890123456789012345678901.24")),
        ("phone", "020 7946 0123", "+44 20 7946 0123"),
        ("name", "Larkspur Ltd", "Larkspur"),
        ("web", "larkspur.example/a", "larkspur.example/b"),
    ],
)
def test_these_are_not_guessed_to_be_the_same(form: Form, one: object, other: object) -> None:
    assert normalise(form, one) != normalise(form, other)


@pytest.mark.parametrize(
    ("form", "one", "other", "differ"),
    [
        ("code", "M8x1.5", "M8x15", True),
        ("code", "M8x1.5", "m8 x 1,5", False),
        ("code", "PIPE-1/2", "PIPE-12", True),
        ("code", "PIPE ½", "PIPE-1/2", False),
        ("code", "10½", "1012", True),
        ("code", "A+", "A-", True),
        ("code", "C#", "C++", True),
        ("code", "#12", "12", False),
        ("code", "DE 123.456.789", "de123456789", False),
        ("code", "12.345.678/0001-95", "12345678000195", False),
        ("code", "756.1234.5678.97", "7561234567897", False),
        ("code", "100-12", "1001-2", True),
        ("code", "100-12", "10012", False),
        ("code", "A-100-12", "A100-12", False),
        ("code", "100-12-3", "100-123", False),
        ("code", "526-104-08-28", "526-10-40-828", False),
        ("phone", "020 7946 0123 ext. 7", "020 7946 0123 ext. 8", True),
        ("phone", "020 7946 0123 ext. 7", "02079460123", False),
        ("web", "larkspur.example?shop=1", "larkspur.example?shop=2", True),
        ("web", "larkspur.example?from=mail", "larkspur.example", False),
        ("email", "A@mail.example", "a@mail.example", False),
    ],
)
def test_the_same_form_may_be_two_things(form: Form, one: str, other: str, differ: bool) -> None:
    assert normalise(form, one) == normalise(form, other)
    assert may_differ(form, one, other) is may_differ(form, other, one) is differ


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("value", [None, "", "  ", "n/a", "-", "None", "\u200b", [], {}, b"x"])
def test_nothing_matches_nothing(form: Form, value: object) -> None:
    assert normalise(form, value) is None


@pytest.mark.parametrize(
    ("form", "value"), [("code", "000-000"), ("email", "none@"), ("phone", "0"), ("web", "http://")]
)
def test_what_people_write_for_nothing_is_nothing(form: Form, value: str) -> None:
    assert normalise(form, value) is None


@given(st.sampled_from(FORMS), st.text() | st.floats() | st.decimals() | st.integers() | st.datetimes())
def test_a_form_stays_as_it_is(form: Form, value: object) -> None:
    once = normalise(form, value)
    assert once is None or normalise(form, once) == once


def test_a_field_compares_by_its_tag_its_type_or_its_name() -> None:
    customer = read_schema(packaged_schema("customer")).by_name
    forms = {name: form_of(customer[name]) for name in ("name", "email", "tax_number", "phone", "website", "industry")}
    assert forms == {
        "name": "name",
        "email": "email",
        "tax_number": "code",
        "phone": "phone",
        "website": "web",
        "industry": "text",
    }
    assert form_of(customer["credit_limit"]) == "number"
    assert form_of(SchemaField("line", FieldType("string"), tags=frozenset({"phone"}))) == "phone"
    assert form_of(SchemaField("number", FieldType("int"))) == "number"
    assert form_of(SchemaField("account", FieldType("uuid"))) == "code"
