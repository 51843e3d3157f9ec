"""Filters over how people are reached, taxed and paid: e-mail, web addresses, tax numbers, bank accounts.

E-mail by email-validator (RFC 5322, 6531; nothing is asked of the network), tax numbers by python-stdnum (each
country's own check digits), IBANs too (ISO 13616).
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import NamedTuple
from unicodedata import normalize
from urllib.parse import urlsplit, urlunsplit

from sorbus.mapping.errors import shown
from sorbus.mapping.filters.code import country as country_code
from sorbus.mapping.filters.registry import rule_filter
from sorbus.mapping.types import TEXT

_IBAN_SAID = re.compile(r"^IBAN\b[\s:.]*")
_MANY = 1 << 16
"""Addresses not written plainly that are remembered: email-validator takes 20 us for one."""
_PLAIN = re.compile(
    r"[a-zA-Z0-9_+-]+(?:\.[a-zA-Z0-9_+-]+)*@(?:[a-zA-Z0-9]+(?:-[a-zA-Z0-9]+)*\.)+[a-zA-Z]{2,}"
).fullmatch
_PLAIN_LONGEST = 64
"""Up to here no length of RFC 1035 or 5321 can be exceeded."""


@rule_filter(takes=TEXT, gives="string", weight="middling")
def email(value: str) -> str:
    """An e-mail address, checked and in one form (the domain in small letters): `value | trim | email`."""
    written = value.strip().removeprefix("mailto:")
    return _plain(written) or _checked(written)


@rule_filter(takes=TEXT, gives="string", weight="middling")
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
        port, host = parts.port, _host(parts.hostname or "")
    except (ValueError, UnicodeError) as error:
        raise ValueError(f"{shown(value)} is not a valid web address: {error}") from error
    if parts.scheme not in ("http", "https") or "." not in host or any(c.isspace() for c in written):
        raise ValueError(f"{shown(value)} is not a valid web address; write one such as https://example.com")
    if parts.username or parts.password:
        raise ValueError("a web address with a password in it is not a valid address to pass on")
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
        raise ValueError(f"{shown(value)} is not a valid tax number of {where}: {error}") from None
    return number if number.startswith(prefix) else prefix + number


@rule_filter(takes=TEXT, gives="string")
@lru_cache(maxsize=4096)
def iban(value: str) -> str:
    """A bank account number without spaces, its check digits checked: `"DE89 3704 0044 0532 0130 00" | iban`."""
    from stdnum import iban as standard
    from stdnum.exceptions import ValidationError

    written = normalize("NFKC", value).strip().upper()
    written = _IBAN_SAID.sub("", written)
    try:
        return str(standard.validate(written))
    except ValidationError as error:
        raise ValueError(f"{shown(value)} is not a valid IBAN: {error}") from None


def _host(name: str) -> str:
    """A host's name in ASCII, by IDNA 2008 (RFC 5891): straße.de and strasse.de are two domains. ValueError."""
    if name.isascii():
        return name
    import idna

    try:
        return idna.encode(name, uts46=True).decode()
    except idna.IDNAError as error:
        raise ValueError(str(error)) from None


@lru_cache(maxsize=_MANY)
def _checked(written: str) -> str:
    from email_validator import EmailNotValidError, validate_email

    try:
        return validate_email(written, check_deliverability=False).normalized
    except EmailNotValidError as error:
        raise ValueError(f"{shown(written)} is not a valid e-mail address: {error}") from None


def _plain(written: str) -> str | None:
    """A plain ASCII address as email-validator gives it, in a tenth of the time; None for all that needs a look."""
    if len(written) > _PLAIN_LONGEST or not _PLAIN(written):
        return None
    small, reserved = written.lower(), _reserved()
    if small[small.rindex(".") + 1 :] in reserved.tops:
        return None
    if small == written:
        return written
    at = small.index("@")
    if small[:at] in reserved.mailboxes and small[:at] != written[:at]:
        return None
    return written[:at] + small[at:]


class _Reserved(NamedTuple):
    """What email-validator treats in its own way: last labels of special use, mailboxes that have no case."""

    tops: frozenset[str]
    mailboxes: frozenset[str]


@cache
def _reserved() -> _Reserved:
    from email_validator import SPECIAL_USE_DOMAIN_NAMES
    from email_validator.rfc_constants import CASE_INSENSITIVE_MAILBOX_NAMES

    tops = frozenset(name.rpartition(".")[2] for name in SPECIAL_USE_DOMAIN_NAMES)
    return _Reserved(tops, frozenset(CASE_INSENSITIVE_MAILBOX_NAMES))
