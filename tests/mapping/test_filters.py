"""What each filter of the rules gives and refuses."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from uuid import UUID

import pytest

from sorbus.mapping.filters import FILTERS
from sorbus.mapping.rule import Rule, RuleError, compile_rule

D = Decimal
LOOKUPS = {"status": {"A": "ACTIVE", "1": "ONE", "true": "YES"}}
NOON = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)


def run(text: str, value: object = None, record: Mapping[str, object] | None = None) -> object:
    return _compiled(text)(value, record or {})


@cache
def _compiled(text: str) -> Rule:
    return compile_rule(text, lookups=LOOKUPS)


@pytest.mark.parametrize(
    ("rule", "value", "result"),
    [
        ("value | trim", "  a b ", "a b"),
        ("value | upper", "straße", "STRASSE"),
        ("value | lower", "ÅRE", "åre"),
        ("value | title", "anna-MARIA o'neill", "Anna-Maria O'neill"),
        ("value | truncate(3)", "abcd", "abc"),
        ('value | truncate(4, "…")', "abcdef", "abc…"),
        ('value | truncate(4, "…")', "abcd", "abcd"),
        ('value | replace("-", "")', "1-2-3", "123"),
        ("value | slug", "  Blåbær & Søn ", "blabaer-son"),
        ('value | split(";")', "a; b ;;c", ["a", "b", "c"]),
        ('value | split(";") | join', "a;b", "a, b"),
        ('value | join("-")', ["a", None, 1, D("1.50")], "a-1-1.50"),
        ('value | concat(" ", record.last)', "A", "A B"),
        ('value | concat("-", record.last)', None, "-B"),
        ("value | text", D("1E+2"), "100"),
        ("value | text", True, "true"),
        ("value | text", NOON, "2026-07-01T12:00:00+00:00"),
        ('value | text("%d.%m.%Y %H:%M", tz="Europe/Berlin")', NOON, "01.07.2026 14:00"),
        ('value | text("%Y/%m")', date(2026, 7, 1), "2026/07"),
        ("value | first_name", "Anna Maria van Dyk", "Anna Maria"),
        ("value | first_name", "van Dyk, Anna", "Anna"),
        ("value | first_name", "Anna", "Anna"),
        ("value | last_name", "Anna Maria Dyk", "Dyk"),
        ("value | last_name", "van Dyk, Anna", "van Dyk"),
        ("value | last_name", "Anna", ""),
        ("value | decimal", " -1.50 ", D("-1.50")),
        ("value | decimal", 0.1, D("0.1")),
        ("value | decimal", 12, D(12)),
        ('value | decimal(point=",", group=".")', "-1.234.567,80", D("-1234567.80")),
        ('value | decimal(group=",")', "12,34,567.5", D("1234567.5")),
        ("value | integer", "0042", 42),
        ("value | integer", D("3.00"), 3),
        ("value | round(2)", D("2.675"), D("2.68")),
        ("value | round(2)", D("-2.675"), D("-2.68")),
        ('value | round(2, "half-even")', D("2.665"), D("2.66")),
        ("value | round", 2.5, D(3)),
        ('value | round(1, mode="down")', D("-1.29"), D("-1.2")),
        ("value | round(2)", 5, D("5.00")),
        ("value | float", D("1.5"), 1.5),
        ("value | date", "2026-07-01", date(2026, 7, 1)),
        ('value | date("%d/%m/%Y")', "1/7/2026", date(2026, 7, 1)),
        ('value | date(tz="Pacific/Auckland")', NOON, date(2026, 7, 2)),
        ("value | datetime", "2026-07-01T14:00:00+02:00", NOON),
        ('value | datetime(tz="Europe/Berlin")', "2026-07-01 14:00", NOON),
        ('value | datetime("%d.%m.%y %H:%M", tz="Europe/Berlin")', "01.07.26 14:00", NOON),
        ('value | datetime(tz="Europe/Berlin")', date(2026, 7, 1), datetime(2026, 6, 30, 22, tzinfo=UTC)),
        (
            'value | datetime(tz="Europe/Berlin")',
            datetime(2026, 10, 25, 2, 30),
            datetime(2026, 10, 25, 0, 30, tzinfo=UTC),
        ),
        ('value | datetime("epoch")', 1782907200, NOON),
        ('value | datetime("epoch_ms")', D("1782907200000"), NOON),
        ("value | boolean", "Yes", True),
        ("value | boolean", 0, False),
        ('value | boolean("Ja", "Nein")', "nein", False),
        ('value | lookup("status")', "A", "ACTIVE"),
        ('value | lookup("status")', 1, "ONE"),
        ('value | lookup("status")', True, "YES"),
        ('value | lookup("status", unknown="pass")', "B", "B"),
        ('value | lookup("status", unknown="OTHER")', "B", "OTHER"),
        ('value | default("UK")', None, "UK"),
        ('value | default("UK")', "  ", "UK"),
        ('value | default("UK")', "DE", "DE"),
        ("value | default(0)", 0, 0),
        ('record.nick | default("none")', None, "none"),
        ("value | coalesce(record.gone, record.last)", "", "B"),
        ("value | coalesce(record.gone)", "", None),
        ('value | nullif("n/a")', "n/a", None),
        ('value | nullif("n/a")', "x", "x"),
        ("value | required", "x", "x"),
        ('value | when(record.last == "B")', "x", "x"),
        ('value | when(record.last == "C")', "x", None),
        ('value | when(value == "x", "other")', "y", "other"),
        ('none | when(record.last == "B", "other")', "y", None),
        ("value | country", "Germany", "DE"),
        ("value | country", "uk", "GB"),
        ("value | country", "USA", "US"),
        ("value | country", "Côte d'Ivoire", "CI"),
        ("value | country", "cote D'IVOIRE", "CI"),
        ("value | country", "Venezuela, Bolivarian Republic of", "VE"),
        ("value | currency", "euro", "EUR"),
        ("value | currency", "gbp", "GBP"),
        ("value | iban", "GB82 WEST 1234 5698 7654 32", "GB82WEST12345698765432"),
        ("value | iban", "IBAN: de89 3704 0044 0532 0130 00", "DE89370400440532013000"),
        ("value | iban", "FR14-2004-1010-0505-0001-3M02-606", "FR1420041010050500013M02606"),
        ("value | iban", "\uff2e\uff2f93 8601 1117 947", "NO9386011117947"),
    ],
)
def test_a_filter_gives(rule: str, value: object, result: object) -> None:
    found = run(rule, value, {"last": "B"})

    assert found == result
    assert type(found) is type(result)


@pytest.mark.parametrize(
    ("rule", "value", "words"),
    [
        ("value | trim", 5, "it takes text, not 5 (int)"),
        ("value | upper", UUID(int=1), "can't take"),
        ('value | replace("", "x")', "a", "the text to replace is empty"),
        ('value | replace("a", "aaaaaaaaaaaaaaaaaaaa")', "a" * 100_000, "at most 1000000"),
        ('value | split("")', "a", "separator is empty"),
        ("value | truncate(-1)", "a", "leaves no room"),
        ('value | text("%Y")', 5, "a format is for dates"),
        ("value | text", [1], "it takes a single value, not [1] (list)"),
        ("value | decimal", "1.234,50", 'decimal(point=",", group=".")'),
        ("value | decimal", "1,234", "is not a plain number"),
        ("value | decimal", "XII", "is not a plain number"),
        ("value | decimal", float("nan"), "not a finite number"),
        ("value | decimal", "1e999", "is not a plain number"),
        ("value | decimal", True, "it takes"),
        ('value | decimal(point=",")', "1.5,0", "has a full stop"),
        ('value | decimal(point=",", group=".")', "1.5,0", "not grouped"),
        ("value | integer", "1.5", "write `| round | integer`"),
        ("value | integer", D("1e500"), "too large"),
        ("value | round(2)", D("inf"), "not a finite number"),
        ('value | date("%d/%m/%Y")', "31/02/2026", "is not a valid date written as %d/%m/%Y"),
        ("value | date", NOON, "different days"),
        ("value | datetime", "2026-07-01 14:00", "has no time zone"),
        ('value | datetime(tz="Europe/Berlin")', datetime(2026, 3, 29, 2, 30), "doesn't exist in Europe/Berlin"),
        ("value | datetime", 17, "say what it counts"),
        ('value | datetime("epoch")', D("1e30"), "outside the years"),
        ("value | boolean", "maybe", "neither yes nor no"),
        ('value | boolean("Ja", "Nein")', "yes", "neither yes nor no"),
        ('value | lookup("status")', "B", "not in the lookup table status"),
        ("value | required", " ", "the rule requires one"),
        ("value | country", "Atlantis", "no country is called"),
        ("value | country", " ", "is blank"),
        ("value | currency", "dollar", "no currency is called"),
        ("value | iban", "DE89 3704 0044 0532 0130 01", "is not a valid IBAN"),
        ("value | iban", "DE89 3704 0044 0532 0130 0", "is not a valid IBAN"),
        ("value | iban", "532013000", "is not a valid IBAN"),
    ],
)
def test_a_filter_refuses_in_plain_words_and_names_itself(rule: str, value: object, words: str) -> None:
    with pytest.raises(RuleError) as refused:
        run(rule, value)

    assert words in str(refused.value)
    assert refused.value.filter in FILTERS
    assert refused.value.value == value or value != value


@pytest.mark.parametrize("name", sorted(name for name, found in FILTERS.items() if not found.sees_null))
def test_nothing_passes_through_a_filter_that_is_not_about_it(name: str) -> None:
    arguments = {
        "replace": '("a", "b")',
        "split": '(",")',
        "truncate": "(3)",
        "lookup": '("status")',
        "nullif": '("x")',
        "address_part": '("city", "GB")',
        "postcode": '("GB")',
        "minor_units": '("EUR")',
        "from_minor_units": '("EUR")',
        "money_text": '("en_GB")',
        "name_part": '("given")',
        "id_in": '("customer")',
    }

    assert run(f"value | {name}{arguments.get(name, '')}") is None


@pytest.mark.parametrize("name", sorted(FILTERS))
def test_each_filter_has_a_reference_entry_with_an_example(name: str) -> None:
    assert "| " + name in FILTERS[name].doc


def test_the_brief_of_a_filter_shows_its_arguments() -> None:
    assert FILTERS["lookup"].usage == "lookup(table, unknown='fail')"
    assert FILTERS["trim"].usage == "trim"
