"""Telephone numbers written plainly, read straight by Google's metadata: a tenth of what phonenumbers' parser takes.

Plain is digits with blanks, hyphens, dots, slashes and brackets between, a + in front or none. What the metadata leaves
to more than one reading (an international prefix, the country's own code without a +, carriers' codes) is not plain,
nor is anything with letters or an extension: phonenumbers reads those. Where a number is plain both give the same,
which tests/mapping/test_phone.py holds for every country.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata, region_code_for_country_code

_LONGEST = 40
_SEPARATORS = str.maketrans("", "", " -./()\u00a0")
_Match = Callable[[str], re.Match[str] | None]
_Template = Callable[[re.Match[str]], str]
_DIGITS = {digits: int(digits) for digits in map(str, COUNTRY_CODE_TO_REGION_CODE)}


class PlainNumber(NamedTuple):
    """A number taken apart: the country's calling code, and the rest as dialled from abroad (leading zeros count)."""

    country_code: int
    national: str

    @property
    def e164(self) -> str:
        return f"+{self.country_code}{self.national}"


class _Plan(NamedTuple):
    """What the metadata says of the numbers of a region."""

    country_code: int
    starts_elsewhere: _Match
    """What phonenumbers reads in its own way: an international prefix, or the calling code."""
    prefix: _Match | None
    """The national prefix, which isn't dialled from abroad."""
    has_transform: bool
    """Whether a last group in the prefix has the number written anew."""
    is_national: _Match
    lengths: frozenset[int]
    """Whole numbers: what is left without its prefix must have one of them."""
    possible: frozenset[int]
    """With those that can be dialled within an area only, by the calling code's main region."""


def plain_number(value: str, region: str) -> PlainNumber | None:
    """A plainly written number; None for any other, and for one that can't be a number at all."""
    digits = value.translate(_SEPARATORS)
    if len(value) > _LONGEST or not digits.isascii():
        return None
    if digits[:1] == "+":
        digits = digits[1:]
        code = next((found for size in (1, 2, 3) if (found := _DIGITS.get(digits[:size]))), 0)
        plan = _plan_of_code(code) if code and digits.isdigit() else None
        digits = digits[len(str(code)) :]
    else:
        plan = _plan_of_region(region) if digits.isdigit() else None
        if plan is not None and plan.starts_elsewhere(digits):
            return None
    if plan is None:
        return None
    if plan.prefix is not None and (prefix := plan.prefix(digits)):
        digits = digits[prefix.end() :]
        if plan.has_transform and (prefix.lastindex is None or prefix.groups()[-1] is not None):
            return None
        if len(digits) not in plan.lengths or not plan.is_national(digits):
            return None
    # Zeros alone are no number, and two digits are one for phonenumbers in its own way.
    if len(digits) not in plan.possible or not digits.strip("0") or len(digits) < 4:
        return None
    return PlainNumber(plan.country_code, digits)


def written_internationally(number: PlainNumber) -> str | None:
    """+44 20 7946 0018; None where that takes phonenumbers' own way."""
    national = number.national
    for is_led, pattern, template in _formats(number.country_code):
        if (is_led is None or is_led(national)) and (found := pattern(national)):
            return f"+{number.country_code} {template(found)}" if found.end() == len(national) else None
    return f"+{number.country_code} {national}"


@cache
def _plan_of_region(region: str) -> _Plan | None:
    return _plan(PhoneMetadata.metadata_for_region(region.upper(), None)) if region else None


@cache
def _plan_of_code(code: int) -> _Plan | None:
    return _plan(_metadata_of_code(code))


def _metadata_of_code(code: int) -> PhoneMetadata | None:
    return PhoneMetadata.metadata_for_region_or_calling_code(code, region_code_for_country_code(code))


def _plan(found: PhoneMetadata | None) -> _Plan | None:
    if found is None or found.country_code is None or found.general_desc is None:
        return None
    main, own = _metadata_of_code(found.country_code), found.general_desc
    if main is None or main.general_desc is None or not own.national_number_pattern:
        return None
    elsewhere = f"{found.country_code}|{found.international_prefix or 'NonMatch'}"
    prefix = re.compile(found.national_prefix_for_parsing) if found.national_prefix_for_parsing else None
    wide = main.general_desc
    return _Plan(
        found.country_code,
        re.compile(elsewhere).match,
        prefix.match if prefix else None,
        bool(found.national_prefix_transform_rule),
        re.compile(own.national_number_pattern).fullmatch,
        frozenset(own.possible_length),
        frozenset((*wide.possible_length, *wide.possible_length_local_only)),
    )


@cache
def _formats(code: int) -> tuple[tuple[_Match | None, _Match, _Template], ...]:
    """How numbers of a calling code are written: what they begin with, what they look like, and the way."""
    found = _metadata_of_code(code)
    formats = (found.intl_number_format or found.number_format) if found is not None else ()
    made: list[tuple[_Match | None, _Match, _Template]] = []
    for each in formats:
        pattern = re.compile(str(each.pattern))
        led = re.compile(each.leading_digits_pattern[-1]) if each.leading_digits_pattern else None
        made.append((led.match if led else None, pattern.match, _template(str(each.format), pattern.groups)))
    return tuple(made)


def _template(form: str, groups: int) -> _Template:
    """Fills a format's groups in."""
    pieces = re.split(r"\\(\d)", form)
    order = [int(group) - 1 for group in pieces[1::2]]
    filled = "%s".join(text.replace("%", "%%") for text in pieces[::2])
    if order == list(range(groups)):
        return lambda found: filled % found.groups("")
    return lambda found: filled % tuple([found.groups("")[group] for group in order])
