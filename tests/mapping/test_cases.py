"""Thousands of values as people write them, from many countries: tests/mapping/cases/*.csv, and wide/ for whole lists.

Columns: country; rule; value (or a record as JSON); what comes out, or `!` and words of the refusal (any of those
between `|`); the standard, library or sample data that says so.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path

import pycountry
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sorbus.mapping.rule import Rule, RuleError, compile_rule

Row = tuple[str, str, str, str, str]


def rows_of(file: Path) -> list[Row]:
    with file.open(encoding="utf-8", newline="") as lines:
        return [(a, b, c, d, e) for a, b, c, d, e in [*csv.reader(lines)][1:]]


FOLDER = Path(__file__).parent / "cases"
WIDE = sorted((FOLDER / "wide").glob("*.csv"))
CASES = [
    pytest.param(*row, id=f"{file.stem}-{number}")
    for file in sorted(FOLDER.glob("*.csv"))
    for number, row in enumerate(rows_of(file), 2)
]
AMOUNTS = st.decimals(-(10**12), 10**12, places=2)
LOCALES = st.sampled_from(["en_US", "de_DE", "fr_FR", "de_CH", "en_IN", "nb_NO", "pt_BR", "ja_JP", "pl_PL", "he_IL"])
CURRENCIES = st.sampled_from(["EUR", "USD", "JPY", "KWD", "CLF", "HUF"])


def run(rule: str, value: object, record: Mapping[str, object] | None = None) -> object:
    return _compiled(rule)(value, record or {})


@cache
def _compiled(rule: str) -> Rule:
    return compile_rule(rule, lookups={})


def plain(value: object) -> str:
    """As the table writes it; the spaces of CLDR's formats are of many kinds."""
    if isinstance(value, datetime | date):
        return value.isoformat()
    return str(value).replace("\u00a0", " ").replace("\u202f", " ")


def judged(country: str, rule: str, value: str, expected: str, source: str) -> str | None:
    """What is wrong with what the rule makes of the value; None if nothing."""
    record: dict[str, object] = json.loads(value) if value.startswith("{") else {}
    try:
        found = run(rule, record.get("value", value), record)
    except RuleError as refused:
        is_expected = expected.startswith("!") and any(words in str(refused) for words in expected[1:].split("|"))
        return None if is_expected else f"refused: {refused}"
    if expected.startswith("!"):
        return f"taken for {found!r}"
    same = Decimal(expected) == found if isinstance(found, Decimal) else plain(found) == expected
    return None if same else f"taken for {found!r}"


@pytest.mark.parametrize(("country", "rule", "value", "expected", "source"), CASES)
def test_a_value_as_people_write_it(country: str, rule: str, value: str, expected: str, source: str) -> None:
    assert judged(country, rule, value, expected, source) is None


def test_the_table_is_as_large_and_as_wide_as_was_asked() -> None:
    known = {country.alpha_2 for country in pycountry.countries}
    countries: dict[str, set[str]] = {}
    for case in CASES:
        countries.setdefault(str(case.id).partition("-")[0], set()).update({str(case.values[0])} & known)

    assert len(CASES) >= 300
    assert {kind: len(found) for kind, found in countries.items() if len(found) < 25} == {}
    assert all(case.values[4] for case in CASES), "each says who says so, or that it was made by hand"


@given(amount=AMOUNTS, locale=LOCALES)
def test_money_written_for_people_is_read_back_to_the_last_unit(amount: Decimal, locale: str) -> None:
    assert run(f'value | money_text("{locale}") | money("{locale}")', amount) == amount


@given(amount=AMOUNTS, locale=LOCALES, currency=CURRENCIES)
def test_money_with_its_currency_is_read_back_to_the_last_unit(amount: Decimal, locale: str, currency: str) -> None:
    written = str(run(f'value | money_text("{locale}", "{currency}")', amount))
    written = "".join(mark for mark in written if mark.isprintable())  # marks of writing direction

    assert run(f'value | money("{locale}")', written.replace("\u200f", "").replace("\u200e", "")) == amount


@given(units=st.integers(-(10**15), 10**15), currency=CURRENCIES)
def test_minor_units_there_and_back_are_the_same(units: int, currency: str) -> None:
    assert run(f'value | from_minor_units("{currency}") | minor_units("{currency}")', units) == units


@given(number=st.integers(10**6, 10**11), region=st.sampled_from(["GB", "US", "DE", "FR", "IT", "BR", "JP", "AU"]))
def test_a_phone_number_made_plain_stays_as_it_is_and_is_read_back_from_its_display(number: int, region: str) -> None:
    try:
        made = run(f'value | phone("{region}")', str(number))
    except RuleError:
        assume(False)
    assert run("value | phone", made) == made
    assert run("value | phone_text | phone", made) == made
    assert run("value | phone_text | phone_text", made) == run("value | phone_text", made)


@given(
    day=st.dates(date(1000, 1, 1)),
    order=st.sampled_from([("DMY", "%d/%m/%Y"), ("MDY", "%m-%d-%Y"), ("YMD", "%Y.%m.%d")]),
)
def test_a_date_written_in_a_said_order_is_read_back(day: date, order: tuple[str, str]) -> None:
    name, format = order

    assert run(f'value | any_date("{name}")', day.strftime(format).rjust(10, "0")) == day


@given(name=st.text(st.characters(categories=["L", "Zs", "P"]), max_size=30))
def test_names_made_tidy_twice_are_as_made_tidy_once(name: str) -> None:
    once = run("value | name_case", name)

    assert run("value | name_case", once) == once


def test_a_postal_code_made_plain_stays_as_it_is() -> None:
    for case in CASES:
        country, rule, _, expected, _ = map(str, case.values)
        if "| postcode(" in rule and not expected.startswith("!"):
            assert run(f'value | postcode("{country}")', expected) == expected


KEPT = {
    "trim": st.text(max_size=40),
    "upper": st.text(max_size=40),
    "lower": st.text(max_size=40),
    "slug": st.text(max_size=40),
    "truncate(7)": st.text(max_size=40),
    "text": st.text(max_size=40) | st.integers() | AMOUNTS | st.dates(date(1000, 1, 1)),
    "decimal": AMOUNTS.map(str),
    "integer": st.integers(-(10**12), 10**12).map(str),
    "round(1)": AMOUNTS,
    "date": st.dates(date(1000, 1, 1)).map(date.isoformat),
    "boolean": st.sampled_from(["Y", "yes", "1", "No", "false", "0", "on", "OFF"]),
    "country": st.sampled_from(["Germany", "de", "UK", "United States", "Côte d'Ivoire", "JPN", "276"]),
    "currency": st.sampled_from(["eur", "USD", "€", "Euro", "gbp"]),
    "email": st.from_regex(r"\A[A-Za-z][A-Za-z0-9]{0,8}@[A-Z]?[a-z]{2,8}\.(com|DE|org)\Z"),
    "url": st.from_regex(r"\A(https?://|HTTP://|)[a-z]{2,8}\.(com|DE)(:8080)?(/[a-z]{0,5})?\Z"),
    "tax_number": st.sampled_from(["DE 136 695 976", "gb 980 7806 84", "FR 40 303265045", "ATU13585627"]),
    "iban": st.sampled_from(["DE89 3704 0044 0532 0130 00", "gb82-west-1234-5698-7654-32", "IBAN: NO9386011117947"]),
}  # fmt: skip


@pytest.mark.parametrize("rule", KEPT)
def test_what_is_in_order_stays_as_it_is(rule: str) -> None:
    taken = 0

    @given(value=KEPT[rule])
    def made_twice(value: object) -> None:
        nonlocal taken
        try:
            once = run(f"value | {rule}", value)
        except RuleError:
            return
        taken += 1
        assert run(f"value | {rule}", once) == once

    made_twice()
    assert taken >= 1, "every value was refused, so nothing was shown"


@given(day=st.dates(date(1000, 1, 1)), format=st.sampled_from(["%d.%m.%Y", "%Y%m%d", "%m/%d/%Y", "%d %B %Y"]))
def test_a_date_written_in_a_format_is_read_back_by_it(day: date, format: str) -> None:
    assert run(f'value | text("{format}") | date("{format}")', day) == day


@given(
    first=st.sampled_from(["Sarah", "Jean-Luc", "Ólafur", "Mary", "Yukiko", "Zoë", "Pedro"]),
    last=st.sampled_from(["Smith", "van der Berg", "O'Neil", "García", "Żuk", "de la Cruz", "Müller-Lüdenscheidt"]),
)
def test_a_name_put_together_is_taken_apart_again(first: str, last: str) -> None:
    whole = run("value | full_name(record.last)", first, {"last": last})
    assert (run("value | first_name", whole), run("value | last_name", whole)) == (first, last)
    assert run('value | name_part("given")', whole) == first


@given(
    street=st.sampled_from(["Obere Str. 57", "Hauptstraße 29", "Am Markt 3a"]),
    city=st.sampled_from(["Berlin", "Bad Homburg", "Köln"]),
    postcode=st.integers(1000, 99999).map("{:05}".format),
    separator=st.sampled_from(["\n", ", "]),
)
def test_an_address_put_together_is_taken_apart_again(street: str, city: str, postcode: str, separator: str) -> None:
    record = {"postcode": postcode, "city": city}
    rule = f'value | address_text(record.postcode, record.city, "DE", separator={json.dumps(separator)})'
    written = run(rule, street, record)
    parts = {part: run(f'value | address_part("{part}", "DE")', written) for part in ("street", "city", "postcode")}
    assert parts == {"street": street, **record}


@pytest.mark.parametrize("file", WIDE, ids=lambda file: str(file.stem))
def test_no_value_of_the_wide_tables_is_guessed(file: Path) -> None:
    wrong = [f"{row}: {found}" for row in rows_of(file) if (found := judged(*row)) is not None]

    assert not wrong, "\n".join(wrong)


def test_the_wide_tables_hold_a_thousand_values_of_forty_countries() -> None:
    rows = [row for file in WIDE for row in rows_of(file)]
    known = {country.alpha_2 for country in pycountry.countries}

    assert len({(rule, value) for _, rule, value, _, _ in rows}) >= 1000
    assert len({country for country, *_ in rows} & known) >= 40
