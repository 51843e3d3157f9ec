"""Parses plainly written telephone numbers with Google's metadata, ten times as fast as phonenumbers' parser.

Plain means digits with blanks, hyphens, dots, slashes and brackets in between, with or without a leading +. Numbers
that the metadata leaves ambiguous (an international prefix, the country's own code without a +, carriers' codes) are
not plain, nor is anything with letters or an extension: phonenumbers parses those. For a plain number both give the
same result, which tests/mapping/test_phone.py verifies for every country.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata, region_code_for_country_code

_LONGEST = 40
_SEPARATORS = b" -./()"
_Match = Callable[[str], re.Match[str] | None]
_CODES = {
    f"{code}{more:0{3 - len(str(code))}}"[:3]: str(code)
    for code in COUNTRY_CODE_TO_REGION_CODE
    for more in range(10 ** (3 - len(str(code))))
}
"""The first three digits of an international number -> its calling code; no code is a prefix of another."""
PlainNumber = tuple[int, str]
"""A parsed number: the country's calling code, and the rest as dialled from abroad (leading zeros count)."""


class _Plan(NamedTuple):
    """A region's numbering plan, from the metadata."""

    country_code: int
    starts_elsewhere: _Match
    """What phonenumbers handles specially: an international prefix, or the calling code."""
    is_short: _Match
    """Numbers that can only be dialled within the country, such as 112."""
    prefix: _Match | None
    """The national prefix, which isn't dialled from abroad."""
    has_transform: bool
    """Whether the last group of the prefix rewrites the number."""
    is_national: _Match
    lengths: frozenset[int]
    """Valid lengths of a number without its prefix."""
    possible: frozenset[int]
    """Those of the calling code's main region."""


def plain_number(value: str, region: str) -> PlainNumber | None:
    """Parses a plainly written number; None for any other, and for an impossible one."""
    if len(value) > _LONGEST or not value.isascii():
        return None
    digits = value.encode().translate(None, _SEPARATORS).decode()
    if digits[:1] == "+":
        code = _CODES.get(digits[1:4])
        if code is None:
            return None
        plan, digits = _plan_of_code(code), digits[len(code) + 1 :]
    else:
        plan = _plan_of_region(region)
        if plan is None or plan.starts_elsewhere(digits) or plan.is_short(digits):
            return None
    if plan is None or not digits.isdigit():
        return None
    country_code, _, _, strip, has_transform, is_national, lengths, possible = plan
    if strip is not None and (prefix := strip(digits)):
        digits = digits[prefix.end() :]
        if has_transform and (prefix.lastindex is None or prefix.groups()[-1] is not None):
            return None
        if len(digits) not in lengths or not is_national(digits):
            return None
    # Only zeros is not a number, and phonenumbers handles two digits specially.
    if len(digits) not in possible or len(digits) < 4 or (digits[0] == "0" and not digits.strip("0")):
        return None
    # Mexico's former dialling and Argentina's mobiles without an area code are handled in phone.py.
    if (country_code == 52 and digits[0] in "01") or (country_code == 54 and digits[:2] == "15"):
        return None
    return country_code, digits


def written_internationally(number: PlainNumber) -> str:
    """+44 20 7946 0018."""
    country_code, national = number
    match, forms = _formats(country_code)
    found = match(national)
    if found is None or found.lastindex is None:
        return f"+{country_code} {national}"
    form, order = forms[found.lastindex]
    return form % found.group(*order)


@cache
def _plan_of_region(region: str) -> _Plan | None:
    return _plan(PhoneMetadata.metadata_for_region(region.upper(), None)) if region else None


@cache
def _plan_of_code(code: str) -> _Plan | None:
    return _plan(_metadata_of_code(int(code)))


def _short_pattern(region: str) -> str:
    found = PhoneMetadata.short_metadata_for_region(region)
    desc = found.short_code if found is not None else None
    return (desc.national_number_pattern if desc is not None else None) or "(?!)"


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
        re.compile(_short_pattern(found.id)).fullmatch,
        prefix.match if prefix else None,
        bool(found.national_prefix_transform_rule),
        re.compile(own.national_number_pattern).fullmatch,
        frozenset(own.possible_length),
        frozenset(wide.possible_length),
    )


@cache
def _formats(code: int) -> tuple[_Match, dict[int, tuple[str, tuple[int, ...]]]]:
    """The formats of a calling code's numbers: all patterns in one, each after its leading digits, and for the group
    around each its format and the groups to fill in.
    """
    metadata = _metadata_of_code(code)
    formats = (metadata.intl_number_format or metadata.number_format) if metadata is not None else ()
    patterns: list[str] = []
    forms: dict[int, tuple[str, tuple[int, ...]]] = {}
    groups = 0
    for each in formats:
        if each.leading_digits_pattern:
            patterns.append(f"(?={each.leading_digits_pattern[-1]})({each.pattern})\\Z")
            groups += re.compile(each.leading_digits_pattern[-1]).groups
        else:
            patterns.append(f"({each.pattern})\\Z")
        outer = groups + 1
        pieces = re.split(r"\\(\d)", str(each.format))
        written = "%s".join(text.replace("%", "%%") for text in pieces[::2])
        forms[outer] = f"+{code} {written}", tuple(outer + int(group) for group in pieces[1::2])
        groups = outer + re.compile(str(each.pattern)).groups
    return re.compile("|".join(patterns) or "(?!)").match, forms
