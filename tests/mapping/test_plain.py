"""Telephone numbers and e-mail addresses that are read the short way, against the libraries whose way it shortens."""

from __future__ import annotations

import phonenumbers
import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import given, settings
from hypothesis import strategies as st

from sorbus.mapping.filters.contact import _plain
from sorbus.mapping.filters.numbering import plain_number, written_internationally
from sorbus.mapping.rule import RuleError, compile_rule
from tests.search import examples

REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)
FORMATS = [0, 1, 2]
TYPES = [
    phonenumbers.PhoneNumberType.FIXED_LINE,
    phonenumbers.PhoneNumberType.MOBILE,
    phonenumbers.PhoneNumberType.TOLL_FREE,
    phonenumbers.PhoneNumberType.PREMIUM_RATE,
    phonenumbers.PhoneNumberType.VOIP,
]
SEPARATORS = st.sampled_from(["", "", "", "", " ", "-", ".", "/", "(", ")", " - ", "\u00a0"])


@st.composite
def numbers(draw: st.DrawFn) -> tuple[str, str]:
    """A region, and a number as somebody there may write it: digits of any kind, the region's own code and prefixes."""
    region = draw(st.sampled_from(REGIONS))
    code = str(phonenumbers.country_code_for_region(region))
    front = draw(st.sampled_from(["", "", "0", "00", "1", "8", "+", f"+{code}", f"+{code}0", code, f"00{code}"]))
    digits = front + draw(st.text("0123456789", min_size=1, max_size=15))
    written = "".join(digit + draw(SEPARATORS) for digit in digits)
    return region, written + draw(st.sampled_from(["", "", "", "", " ext 5", "x5", "#", "abc", ";1", "٣"]))


def by_library(written: str, region: str) -> phonenumbers.PhoneNumber | None:
    try:
        found = phonenumbers.parse(written, region)
    except phonenumbers.NumberParseException:
        return None
    return found if phonenumbers.is_possible_number(found) else None


def same(written: str, region: str) -> bool:
    """Whether it was read the short way; fails where the library reads it otherwise."""
    plain = plain_number(written, region)
    if plain is None:
        return False
    found = by_library(written, region)
    assert found is not None, f"phonenumbers refuses {written!r} in {region}, and it was read as {plain}"
    assert not found.extension
    assert f"+{plain[0]}{plain[1]}" == phonenumbers.format_number(found, phonenumbers.PhoneNumberFormat.E164), (
        written,
        region,
    )
    shown = written_internationally(plain)
    wanted = phonenumbers.format_number(found, phonenumbers.PhoneNumberFormat.INTERNATIONAL)
    assert shown == wanted, (written, region)
    return True


@pytest.mark.search
@settings(max_examples=examples(1500))
@given(numbers())
def test_a_number_read_the_short_way_is_what_phonenumbers_reads(number: tuple[str, str]) -> None:
    region, written = number
    same(written, region)


@pytest.mark.parametrize("region", REGIONS)
def test_the_example_numbers_of_a_country_are_read_the_same_however_they_are_written(region: str) -> None:
    for kind in TYPES:
        example = phonenumbers.example_number_for_type(region, kind)
        for style in FORMATS if example is not None else ():
            same(phonenumbers.format_number(example, style), region)


def test_nearly_all_example_numbers_are_read_the_short_way() -> None:
    examples = [(each, region) for region in REGIONS if (each := phonenumbers.example_number(region)) is not None]
    for style in FORMATS:
        short = sum(same(phonenumbers.format_number(each, style), region) for each, region in examples)
        assert short > 0.9 * len(examples), f"{short} of {len(examples)} in style {style}"


@pytest.mark.parametrize("value", ["1" * 41, "+", "+999123456", "020 7946", "+44", "00 44 20 7946 0018", "ab"])
def test_what_is_not_plain_is_left_to_phonenumbers(value: str) -> None:
    assert plain_number(value, "GB") is None


@pytest.mark.parametrize(
    ("rule", "country", "number", "made"),
    [
        ("value | phone(record.country)", "Germany", "030-0074321", "+49300074321"),
        ("value | phone(record.country)", "UK", "(171) 555-7788", "+441715557788"),
        ("value | phone(record.country | country)", "France", "01.40.67.88.88", "+33140678888"),
        ("value | phone(record.country)", None, "+33 1 40 67 88 88", "+33140678888"),
        ('value | phone_text("national", record.country)', "SE", "0921-12 34 65", "0921-12 34 65"),
        ("value | phone_text(region=record.country)", "Germany", "030-0074321", "+49 30 0074321"),
        ("value | phone_extension(record.country)", "Germany", "030-0074321 ext. 12", "12"),
        ('value | phone(record.country, unknown="pass")', "France", "40.67.88.88", "40.67.88.88"),
        ('value | postcode(record.country, unknown="pass")', "UK", "WX1 6LT", "WX1 6LT"),
        ('value | postcode(record.country, unknown="pass")', "UK", "ec25nt", "EC2 5NT"),
        ('value | phone("United Kingdom")', None, "(171) 555-7788", "+441715557788"),
    ],
)
def test_the_region_may_come_from_the_record(rule: str, country: str | None, number: str, made: str) -> None:
    assert compile_rule(rule, lookups={})(number, {"country": country}) == made


def test_a_region_that_is_none_is_refused_when_the_rule_is_read_or_when_the_record_comes() -> None:
    for wrong in ('"XX"', '"Atlantis"', "5", '"DE", unknown="drop"'):
        with pytest.raises(RuleError, match="phone"):
            compile_rule(f"value | phone({wrong})", lookups={})
    rule = compile_rule("value | phone(record.country)", lookups={})
    for country in ("Atlantis", 5, ["DE"]):
        with pytest.raises(RuleError, match="filter phone"):
            rule("030-0074321", {"country": country})
    with pytest.raises(RuleError, match="say where it is"):
        rule("030-0074321", {"country": None})


LABELS = st.text("aZ09-", min_size=1, max_size=6)
ADDRESSES = st.one_of(
    st.emails(),
    st.builds(
        lambda local, labels, top: f"{local}@{'.'.join([*labels, top])}",
        st.text("aZ0.+_-'é\" ", min_size=0, max_size=8) | st.sampled_from(["Info", "INFO", "info", "a" * 64, "a" * 70]),
        st.lists(LABELS, max_size=4),
        st.sampled_from(["de", "COM", "test", "Local", "example", "1", "x1", "xn--p1ai", "arpa", "", "ü.de", "a" * 64]),
    ),
)  # fmt: skip


@pytest.mark.search
@settings(max_examples=examples(1500))
@given(ADDRESSES)
def test_an_address_read_the_short_way_is_what_email_validator_gives(address: str) -> None:
    plain = _plain(address)
    try:
        wanted = validate_email(address, check_deliverability=False).normalized
    except EmailNotValidError as error:
        wanted = f"refused: {error}"
    assert plain in (None, wanted)


@pytest.mark.parametrize(
    "address", ["ada@example.com", "Ada.Lovelace+x@Mail.Example.ORG", "info@acme.de", "Info_1@a-b.co", "x@1.de"]
)
def test_plain_addresses_are_read_the_short_way(address: str) -> None:
    assert _plain(address) == validate_email(address, check_deliverability=False).normalized
