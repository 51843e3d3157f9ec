"""Search requests on one connection of ldap3, and what they answer."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple, cast

from sorbus.errors import TransientError
from sorbus.ldap.active_directory import range_of
from sorbus.ldap.results import SUCCESS, Outcome, broken_connection, error_of

Raw = Any
"""A connection of ldap3, which has no types."""
Scope = Literal["base", "one", "subtree"]
SCOPES: Mapping[Scope, str] = {"base": "BASE", "one": "LEVEL", "subtree": "SUBTREE"}
_MOST_PARTS = 10_000
_PAGED = "1.2.840.113556.1.4.319"
_log = logging.getLogger(__name__)


class Entry(NamedTuple):
    """An entry as it was answered: attribute descriptions in lower case, values as bytes."""

    dn: str
    attributes: Mapping[str, Sequence[bytes]]

    def values(self, spellings: Sequence[str]) -> Sequence[bytes]:
        """The values under the first of these names that has some."""
        return next((self.attributes[name] for name in spellings if self.attributes.get(name)), ())


class EntryPage(NamedTuple):
    """A page of a search. `cookie` asks for the next one, on the same connection; empty: this was the last."""

    entries: Sequence[Entry]
    cookie: bytes


def ask(
    made: Raw,
    timeout: float,
    base: str,
    scope: Scope,
    filter: str,
    attributes: Sequence[str],
    *,
    doing: str,
    most: int = 0,
    page_size: int | None = None,
    cookie: bytes = b"",
) -> tuple[Outcome, list[Entry], bytes]:
    """One search request. Continuation references aren't followed: what they name is on another server."""
    with translated(doing):
        made.socket.begin(timeout)
        made.search(
            base,
            filter,
            SCOPES[scope],
            dereference_aliases="NEVER",
            attributes=list(attributes) or ["1.1"],
            size_limit=most,
            time_limit=int(timeout),
            paged_size=page_size,
            paged_criticality=True,
            paged_cookie=cookie or None,
        )
        outcome = outcome_of(made)
        answered = list(made.response or ())
        entries = [_entry(one) for one in answered if one["type"] == "searchResEntry"]
        if any(one["type"] == "searchResRef" for one in answered):
            _log.debug("%s: references to other servers aren't followed", doing)
        control = (made.result.get("controls") or {}).get(_PAGED)
        made.response = None
    return outcome, entries, bytes(control["value"]["cookie"] or b"") if control else b""


def _entry(answered: Mapping[str, Any]) -> Entry:
    values = cast("Mapping[str, Sequence[bytes]]", answered["raw_attributes"])
    return Entry(
        answered["raw_dn"].decode(errors="replace"), {name.lower(): list(found) for name, found in values.items()}
    )


def outcome_of(made: Raw) -> Outcome:
    """The result of the connection's last request."""
    result = made.result or {}
    matched = result.get("dn") or ""
    return Outcome(int(result.get("result", 80)), str(result.get("message") or ""), str(matched))


def whole_entry(made: Raw, timeout: float, entry: Entry, doing: str) -> Entry:
    """The entry with what Active Directory gave only a part of: member;range=0-1499."""
    parts = {name: found for name in entry.attributes if (found := range_of(name)) is not None}
    if not parts:
        return entry
    attributes = {name: list(values) for name, values in entry.attributes.items() if name not in parts}
    for described, (name, _, last) in parts.items():
        values = list(entry.attributes[described])
        for _ in range(_MOST_PARTS):
            if last is None:
                break
            asked = f"{name};range={last + 1}-*"
            outcome, answered, _ = ask(made, timeout, entry.dn, "base", "(objectClass=*)", [asked], doing=doing)
            require(outcome, doing)
            more = [
                (part, answered[0].attributes[key])
                for key in (answered[0].attributes if answered else ())
                if (part := range_of(key)) is not None and part[0].lower() == name.lower()
            ]
            if not more or more[0][0][1] != last + 1:
                raise TransientError(f"{doing}: {name} of {entry.dn} can't be read to its end; it is read again")
            (_, _, last), following = more[0]
            values += following
        attributes[name.lower()] = values
    return Entry(entry.dn, attributes)


def require(outcome: Outcome, doing: str, *, is_write: bool = False) -> None:
    """Raises what a result other than success means."""
    if outcome.code != SUCCESS:
        raise error_of(outcome, doing=doing, is_write=is_write)


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """ldap3's own errors, the socket's, and what ldap3 raises for messages that are none, as TransientError."""
    from ldap3.core.exceptions import LDAPExceptionError

    try:
        yield
    except (LDAPExceptionError, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise broken_connection(error, doing=doing) from error
