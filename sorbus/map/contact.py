"""Contacts: `Finance`, `Finance <finance@example.com>` or `finance@example.com`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from email_validator import EmailNotValidError, validate_email

if TYPE_CHECKING:
    from sorbus.mapfile.model import Flow, Map

FIX = "write a name, with an address in angle brackets if mail should reach it: Finance <finance@example.com>"
_WITH_ADDRESS = re.compile(r"([^<>]*)<([^<>]*)>")


@dataclass(frozen=True, slots=True)
class Contact:
    """A person or team; without an address they are named but get no mail."""

    name: str
    address: str | None = None

    def __str__(self) -> str:
        return f"{self.name} <{self.address}>" if self.address and self.address != self.name else self.name


def parse_contact(text: str) -> Contact:
    """Parses a contact; ValueError if its address is invalid."""
    written = " ".join(text.split())
    if found := _WITH_ADDRESS.fullmatch(written):
        address = _address(found[2].strip())
        return Contact(found[1].strip().strip('"') or address, address)
    if "<" in written or ">" in written:
        raise ValueError(f"{text!r} has an angle bracket too many or too few; {FIX}")
    if "@" in written and " " not in written:
        return Contact(written, _address(written))
    return Contact(written)


def contact(text: str) -> Contact:
    """A contact of the map; without an address if it can't be parsed, which `map check` reports."""
    try:
        return parse_contact(text)
    except ValueError:
        return Contact(" ".join(text.split()))


def _address(text: str) -> str:
    try:
        return validate_email(text, check_deliverability=False).normalized
    except EmailNotValidError as error:
        raise ValueError(f"{text!r} is not a valid mail address: {error}; {FIX}") from error


def owner_of(company: Map, system: str) -> Contact | None:
    """The contact for a system; None if the map names none."""
    owner = company.systems[system].owner if system in company.systems else None
    return contact(owner) if owner else None


def called_for(company: Map, flow: Flow) -> Contact | None:
    """The contact for a flow that is stuck: its `escalate_to`, else its target's owner."""
    return contact(flow.escalate_to) if flow.escalate_to else owner_of(company, flow.to)
