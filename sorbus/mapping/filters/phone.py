"""Filters over telephone numbers, by phonenumbers (Google's metadata, ITU-T E.164); plain ones by `numbering`."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from types import ModuleType
from typing import TYPE_CHECKING, Annotated

from sorbus.mapping.errors import shown
from sorbus.mapping.filters.code import country as country_code
from sorbus.mapping.filters.digits import plain as in_ascii
from sorbus.mapping.filters.registry import check_unknown, rule_filter
from sorbus.mapping.types import TEXT

if TYPE_CHECKING:
    from phonenumbers import PhoneNumber

    from sorbus.mapping.filters.numbering import PlainNumber

_MANY = 1 << 16
"""Cached numbers that aren't plain: phonenumbers takes 20 us for one. At most some 10 MB."""
_LONGEST_EXTENSION = 7
_EXTENSION = re.compile(
    r"[\s,;(]*(?:\bext(?:n|ension)?|(?<![^\W\d_])x|#|;ext=|\bint|\bpost[eo]|\banexo|\bramal|доб)[.:\s]*\d+\)?\s*$",
    re.IGNORECASE,
)
_SECOND_ENDING = re.compile(r"\d\s?/\s?\d{1,2}$")
_LETTERS = re.compile(r"\d.*?(?P<letters>[^\W\d_].*)")
_ON_KEYS = re.compile(r"[A-Za-z]{3,}(?:[\s-]?[A-Za-z]+)*")
_MISREAD = frozenset("oOiIlL")
_OLD_MEXICAN = re.compile(r"(?:04[45]|01|1)?(?P<number>[2-9]\d{9})")
"""Mexico's dialling prefixes until August 2019 (IFT): 044, 045 and 1 for mobiles, 01 for long distance."""
_STYLES = ("international", "national", "rfc3966")


def _check_region(region: object) -> None:
    _region(region)


def _check_style(style: str) -> None:
    if style not in _STYLES:
        raise ValueError(f"{shown(style)} is none of {', '.join(_STYLES)}")


Region = Annotated[object, _check_region]
Unknown = Annotated[str, check_unknown]
Style = Annotated[str, _check_style]


@rule_filter(takes=TEXT, gives="string", weight="middling")
def phone(value: str, region: Region = "", unknown: Unknown = "fail") -> str:
    """A telephone number in E.164: `"020 7946 0018" | phone("GB")` is +442079460018.

    `region` is the region of numbers without a country code: a country's code or name, or an expression that returns
    one: `value | phone(record.country)`. An extension is removed (`phone_extension` returns it). Invalid numbers, short
    numbers (112), numbers without their area code, and two numbers in one text are rejected; `unknown="pass"` passes
    them through unchanged.
    """
    where = _region(region)
    plain: PlainNumber | None = _numbering().plain_number(value, where)
    if plain is not None:
        return f"+{plain[0]}{plain[1]}"
    try:
        return _formatted(value, "e164", where)
    except ValueError:
        if unknown == "pass":
            return value
        raise


@rule_filter(takes=TEXT, gives="string")
def phone_text(value: str, style: Style = "international", region: Region = "") -> str:
    """A telephone number for people: `"+442079460018" | phone_text` is +44 20 7946 0018; also "national", "rfc3966".

    `region` as for `phone`.
    """
    where = _region(region)
    plain: PlainNumber | None = _numbering().plain_number(value, where) if style == "international" else None
    if plain is not None:
        return str(_numbering().written_internationally(plain))
    return _formatted(value, style, where)


@rule_filter(takes=TEXT, gives="string")
def phone_extension(value: str, region: Region = "") -> str:
    """The extension of a telephone number, empty if it has none: `"020 7946 0018 ext 5" | phone_extension("GB")`.

    `region` as for `phone`.
    """
    return str(_number(value, _region(region)).extension or "")


@cache
def _numbering() -> ModuleType:
    """Google's metadata, loaded only for rules about telephones."""
    from sorbus.mapping.filters import numbering

    return numbering


@lru_cache(maxsize=4096)
def _region(region: object) -> str:
    """The region's ISO code; empty for none. ValueError for a region without telephones."""
    from phonenumbers import SUPPORTED_REGIONS

    if region is None or region in SUPPORTED_REGIONS:
        return str(region or "")
    if not isinstance(region, str):
        raise ValueError(f"the region {shown(region)} is not text")
    if not region.strip():
        return ""
    code = country_code(region)
    if code not in SUPPORTED_REGIONS:
        raise ValueError(f"{shown(region)} is not a region with telephones; write an ISO 3166 code such as GB")
    return code


@lru_cache(maxsize=_MANY)
def _formatted(value: str, style: str, region: str) -> str:
    from phonenumbers import PhoneNumberFormat, format_number

    return str(format_number(_number(value, region), getattr(PhoneNumberFormat, style.upper())))


def _number(value: str, region: str) -> PhoneNumber:
    from phonenumbers import NumberParseException, ValidationResult, is_possible_number_with_reason, parse
    from phonenumbers.shortnumberinfo import is_valid_short_number_for_region

    _check_marks(value)
    try:
        number = parse(value, region or None)
    except NumberParseException as error:
        hint = "" if region else '; if it has no country code, say where it is, as in phone("GB")'
        raise ValueError(f"{shown(value)} is not a valid telephone number: {error}{hint}") from None
    national = str(number.national_number)
    if number.country_code == 52 and (
        old := _OLD_MEXICAN.fullmatch("0" * bool(number.italian_leading_zero) + national)
    ):
        number.national_number, number.italian_leading_zero = int(old["number"]), None
    if len(str(number.extension or "")) > _LONGEST_EXTENSION:
        raise ValueError(f'{shown(value)} holds two telephone numbers: split them first, as in split(";")')
    possible = is_possible_number_with_reason(number)
    is_short = len(national) <= 6 and region and "+" not in value and is_valid_short_number_for_region(number, region)
    # In Argentina 15 separates the area code from a mobile's number: a leading 15 means that there is none.
    if possible == ValidationResult.IS_POSSIBLE_LOCAL_ONLY or (
        number.country_code == 54 and re.fullmatch(r"15\d{8}", national)
    ):
        raise ValueError(f"{shown(value)} lacks its area code, so it can't be dialled from elsewhere")
    if possible != ValidationResult.IS_POSSIBLE or not number.national_number:
        raise ValueError(f"{shown(value)} has too few or too many digits for a telephone number of its country")
    if is_short:
        raise ValueError(f"{shown(value)} is a short number, which can't be dialled from elsewhere")
    return number


def _check_marks(value: str) -> None:
    """ValueError if letters or a slash among the digits may mean something else than phonenumbers assumes."""
    text = _EXTENSION.sub("", in_ascii(value[:200])).strip()
    if _SECOND_ENDING.search(text):
        raise ValueError(f"{shown(value)} may be two telephone numbers: write each in full, and split them first")
    found = _LETTERS.match(text[next((n for n, c in enumerate(text) if c.isdigit()), 0) :])
    if found and (not _ON_KEYS.match(found["letters"]) or set(found["letters"]) - {" ", "-"} <= _MISREAD):
        raise ValueError(
            f"{shown(value)} is not a valid telephone number: it has {shown(found['letters'])} among its digits"
        )
