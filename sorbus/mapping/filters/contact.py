"""Filters over how people are reached: e-mail and web addresses.

E-mail by email-validator (RFC 5322, 6531; nothing is asked of the network).
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import NamedTuple
from urllib.parse import urlsplit, urlunsplit

from sorbus.mapping.errors import shown
from sorbus.mapping.filters.registry import rule_filter
from sorbus.mapping.types import TEXT

_MANY = 1 << 16
"""Cached addresses that aren't plain: email-validator takes 20 us for one."""
_PLAIN = re.compile(
    r"[a-zA-Z0-9_+-]+(?:\.[a-zA-Z0-9_+-]+)*@(?:[a-zA-Z0-9]+(?:-[a-zA-Z0-9]+)*\.)+[a-zA-Z]{2,}"
).fullmatch
_PLAIN_LONGEST = 64
"""Up to this length no limit of RFC 1035 or 5321 can be exceeded."""


@rule_filter(takes=TEXT, gives="string", weight="middling")
def email(value: str) -> str:
    """A validated e-mail address in normal form (the domain in lower case): `value | trim | email`."""
    written = value.strip().removeprefix("mailto:")
    return _plain(written) or _checked(written)


@rule_filter(takes=TEXT, gives="string", weight="middling")
def email_domain(value: str) -> str:
    """The domain of an e-mail address: `value | email_domain`."""
    return email(value).rpartition("@")[2]


@rule_filter(takes=TEXT, gives="string")
@lru_cache(maxsize=4096)
def url(value: str, scheme: str = "https") -> str:
    """A web address in normal form, `scheme` added if missing: `"Example.com/a" | url` is https://example.com/a."""
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


def _host(name: str) -> str:
    """A host's name in ASCII, by IDNA 2008 (RFC 5891): straße.de and strasse.de differ. ValueError."""
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
    """A plain ASCII address in email-validator's form, ten times as fast; None for all other addresses."""
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
    """email-validator's exceptions: special-use top-level domains, mailboxes without case."""

    tops: frozenset[str]
    mailboxes: frozenset[str]


@cache
def _reserved() -> _Reserved:
    from email_validator import SPECIAL_USE_DOMAIN_NAMES
    from email_validator.rfc_constants import CASE_INSENSITIVE_MAILBOX_NAMES

    tops = frozenset(name.rpartition(".")[2] for name in SPECIAL_USE_DOMAIN_NAMES)
    return _Reserved(tops, frozenset(CASE_INSENSITIVE_MAILBOX_NAMES))
