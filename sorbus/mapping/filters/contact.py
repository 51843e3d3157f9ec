"""Filters over what people are reached by, and known by to the tax office: phones, e-mail, web addresses, tax numbers.

Phones by phonenumbers (Google's metadata, ITU-T E.164), e-mail by email-validator (RFC 5322, 6531; nothing is asked of
the network), tax numbers by python-stdnum (each country's own check digits).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit, urlunsplit

from sorbus.mapping.failure import shown
from sorbus.mapping.filters.code import country as country_code
from sorbus.mapping.filters.registry import rule_filter
from sorbus.mapping.kinds import TEXT

if TYPE_CHECKING:
    from phonenumbers import PhoneNumber

_MANY = 1 << 16
"""Telephone numbers and e-mail addresses take some 40 us to read: worth 20 MB to know those of a middling company."""
_STYLES = ("international", "national", "rfc3966")


def _check_region(region: str) -> None:
    from phonenumbers import SUPPORTED_REGIONS

    if region and region not in SUPPORTED_REGIONS:
        raise ValueError(f"{shown(region)} is no region with telephones; write an ISO 3166 code such as GB")


def _check_style(style: str) -> None:
    if style not in _STYLES:
        raise ValueError(f"{shown(style)} is none of {', '.join(_STYLES)}")


Region = Annotated[str, _check_region]
Style = Annotated[str, _check_style]


@rule_filter(takes=TEXT, gives="string")
@lru_cache(maxsize=_MANY)
def phone(value: str, region: Region = "") -> str:
    """A telephone number in E.164: `"020 7946 0018" | phone("GB")` is +442079460018.

    `region` is where numbers without a country code are; an extension is left out (`phone_extension` gives it). A
    number that can't be one in its country is refused.
    """
    from phonenumbers import PhoneNumberFormat, format_number

    return str(format_number(_number(value, region), PhoneNumberFormat.E164))


@rule_filter(takes=TEXT, gives="string")
@lru_cache(maxsize=_MANY)
def phone_text(value: str, style: Style = "international", region: Region = "") -> str:
    """A telephone number for people: `"+442079460018" | phone_text` is +44 20 7946 0018; also "national", "rfc3966"."""
    from phonenumbers import PhoneNumberFormat, format_number

    return str(format_number(_number(value, region), getattr(PhoneNumberFormat, style.upper())))


@rule_filter(takes=TEXT, gives="string")
@lru_cache(maxsize=4096)
def phone_extension(value: str, region: Region = "") -> str:
    """The extension of a telephone number, empty if it has none: `"020 7946 0018 ext 5" | phone_extension("GB")`."""
    return str(_number(value, region).extension or "")


@rule_filter(takes=TEXT, gives="string")
@lru_cache(maxsize=_MANY)
def email(value: str) -> str:
    """An e-mail address, checked and in one form (the domain in small letters): `value | trim | email`."""
    from email_validator import EmailNotValidError, validate_email

    written = value.strip().removeprefix("mailto:")
    try:
        return validate_email(written, check_deliverability=False).normalized
    except EmailNotValidError as error:
        raise ValueError(f"{shown(value)} is no e-mail address: {error}") from None


@rule_filter(takes=TEXT, gives="string")
def email_domain(value: str) -> str:
    """The domain of an e-mail address: `value | email_domain`."""
    return email(value).rpartition("@")[2]


@rule_filter(takes=TEXT, gives="string")
@lru_cache(maxsize=4096)
def url(value: str, scheme: str = "https") -> str:
    """A web address in one form, `scheme` added where none is written: `"Example.com/a" | url` is https://example.com/a."""
    written = value.strip()
    try:
        parts = urlsplit(written if "://" in written else f"{scheme}://{written}")
        port, host = parts.port, (parts.hostname or "").encode("idna").decode()
    except (ValueError, UnicodeError) as error:
        raise ValueError(f"{shown(value)} is no web address: {error}") from error
    if parts.scheme not in ("http", "https") or "." not in host or any(c.isspace() for c in written):
        raise ValueError(f"{shown(value)} is no web address; write one such as https://example.com")
    if parts.username or parts.password:
        raise ValueError("a web address with a password in it is no address to pass on")
    known = {"http": 80, "https": 443}[parts.scheme]
    place = host if port in (None, known) else f"{host}:{port}"
    return urlunsplit((parts.scheme, place, "" if parts.path == "/" else parts.path, parts.query, parts.fragment))


@rule_filter(takes=TEXT, gives="string")
@lru_cache(maxsize=4096)
def tax_number(value: str, country: str = "") -> str:
    """A VAT or tax number, check digits checked, with its country in front: `"136 695 976" | tax_number("DE")`.

    Without `country`, the number's own first two letters say it: `"DE136695976" | tax_number`.
    """
    from stdnum import get_cc_module
    from stdnum.exceptions import ValidationError

    written = "".join(letter for letter in value.upper() if letter.isalnum())
    where = country_code(country) if country else "GR" if written[:2] == "EL" else written[:2]
    # A Swiss number is the same with and without the word for the tax behind it.
    kind = "uid" if where == "CH" else "vat"
    written = written.removesuffix("MWST").removesuffix("TVA").removesuffix("IVA") if where == "CH" else written
    module = get_cc_module(where.lower(), kind) if where.isalpha() else None
    if module is None:
        known = (
            "its country is not known by its first letters" if not country else f"{where} has none that can be checked"
        )
        raise ValueError(f"{shown(value)} can't be checked as a tax number: {known}")
    prefix = "EL" if where == "GR" else where
    try:
        number = str(module.validate(written.removeprefix(prefix) if where != "CH" else written))
    except ValidationError as error:
        raise ValueError(f"{shown(value)} is no tax number of {where}: {error}") from None
    return number if number.startswith(prefix) else prefix + number


def _number(value: str, region: str) -> PhoneNumber:
    from phonenumbers import NumberParseException, is_possible_number, parse

    try:
        number = parse(value, region or None)
    except NumberParseException as error:
        hint = "" if region else '; if it has no country code, say where it is, as in phone("GB")'
        raise ValueError(f"{shown(value)} is no telephone number: {error}{hint}") from None
    if not is_possible_number(number):
        raise ValueError(f"{shown(value)} has too few or too many digits for a telephone number of its country")
    return number
