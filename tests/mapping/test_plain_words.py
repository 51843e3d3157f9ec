"""Rules in words: every filter has some, and what they say is what the rule does."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sorbus.mapping.filters import FILTERS
from sorbus.mapping.plain_words import condition_in_words, field_in_words, filter_words, rule_in_words

OURS = sorted(name for name, found in FILTERS.items() if found.run.__module__.startswith("sorbus."))
SAID_ELSEWHERE = {
    ("any_date", "language"), ("any_datetime", "order"), ("any_datetime", "language"), ("country_name", "locale"),
    ("decimal", "point"), ("decimal", "group"), ("first_name", "order"), ("first_name", "surnames"),
    ("full_name", "style"), ("id_in", "resource"), ("integer", "group"), ("last_name", "order"),
    ("last_name", "surnames"), ("money", "locale"), ("name_part", "order"), ("name_part", "surnames"),
    ("phone", "unknown"), ("phone_extension", "region"), ("phone_text", "style"), ("phone_text", "region"),
    ("postcode", "unknown"), ("text", "tz"), ("url", "scheme"),
}  # fmt: skip
"""Arguments that change how a value is read, not what a reader of the page needs to know."""
LOOKUPS = {"status": {"lead": "PROSPECT", "active": "ACTIVE"}}


def test_every_filter_has_words_and_no_words_are_left_over() -> None:
    assert sorted(filter_words()) == OURS, "give a new filter a phrase in sorbus/mapping/filters/plain_words.toml"


@pytest.mark.parametrize("name", OURS)
def test_the_words_name_arguments_that_there_are_and_all_that_matter(name: str) -> None:
    arguments = list(FILTERS[name].signature.parameters)[1:]
    named = re.findall(r"\{(\w+)\}", filter_words()[name])

    assert set(named) <= set(arguments)
    assert {(name, each) for each in arguments if each not in named} <= SAID_ELSEWHERE
    for each in arguments:
        has_default = FILTERS[name].signature.parameters[each].default not in (FILTERS[name].signature.empty, 0)
        if each in named and has_default:
            assert re.search(rf"\[[^\]]*\{{{each}\}}", filter_words()[name]), f"{each} may be left out: put it in [ ]"


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("", "unchanged"),
        ("value", "unchanged"),
        ("value | trim", "without blanks before and after it"),
        ("value | upper | truncate(40)", "in capital letters, cut to at most 40 characters"),
        ('value | truncate(40, "…")', "cut to at most 40 characters, the last of them “…”"),
        ('"export"', "always “export”"),
        ('"export" if record.country != "DE" else none', "“export” if country is not “DE”, otherwise nothing"),
        ("(record.net * 1.19) | round(2)", "net times 1.19, rounded to 2 decimal places"),
        ('record.first_name ~ " " ~ value', "first name and name, with a blank between"),
        (
            'value | lookup("status")',
            "replaced by its entry in the table “status” (“lead” becomes “PROSPECT”, “active” becomes “ACTIVE”)",
        ),
        (
            "record.mobile | coalesce(record.phone, record.fax)",
            "mobile or, if it is empty, the first of these that is not: phone and fax",
        ),
        (
            'record.vat | when(record.country == "DE" and value is not none)',
            "vat, if country is “DE” and name is not empty",
        ),
        ('value | nullif("n/a") | default("UK")', "left empty if it is “n/a”, or, if it is empty, “UK”"),
        ("value + ", "as the rule value +  says"),
        ('value | date("%d.%m.%Y")', "read as a date, written as “%d.%m.%Y”"),
        ("value | default(record.a)", "name or, if it is empty, a"),
        ("not record.is_service", "yes if it is not service, otherwise no"),
        ('value == "ON_HOLD"', "yes if name is “ON_HOLD”, otherwise no"),
        ('value | replace(" ", "")', "with a blank replaced by nothing wherever it occurs"),
        ('(value | split(","))[0]', "part 1 of name, split into a list at every “,”"),
    ],
)  # fmt: skip
def test_a_rule_is_said_in_words(rule: str, words: str) -> None:
    assert rule_in_words(rule, "name", LOOKUPS) == words


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ('country == "DE"', "country is “DE”"),
        ('country in ["DE", "AT"] and total >= 100', "country is one of “DE” and “AT” and total is at least 100"),
        ("is_active and (a == 1 or b != none)", "it is active and (a is 1 or b is not empty)"),
    ],
)
def test_a_condition_is_said_in_words(condition: str, words: str) -> None:
    assert condition_in_words(condition, {}) == words


def test_a_field_is_called_by_its_last_name() -> None:
    assert field_in_words("customer.billing_address_country") == "billing address country"
    assert field_in_words("order.lines[].sku") == "sku"


@given(st.text(max_size=60))
def test_whatever_is_written_is_said_or_shown_as_written(text: str) -> None:
    assert rule_in_words(text, "name", {})
    assert condition_in_words(text, {})
