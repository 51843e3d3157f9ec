"""Whom to ask: `Finance`, `Finance <finance@example.com>` or `finance@example.com`."""

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
    """A person or team; without an address no mail reaches them, but they are named."""

    name: str
    address: str | None = None

    def __str__(self) -> str:
        return f"{self.name} <{self.address}>" if self.address and self.address != self.name else self.name


def parse_contact(text: str) -> Contact:
    """Reads whom to ask as people write it; ValueError when the address can't be one."""
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
    """Whom a map names; without an address where it can't be read, which `map check` tells."""
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
    """Whom to ask about a system; None where the map names nobody."""
    owner = company.systems[system].owner if system in company.systems else None
    return contact(owner) if owner else None


def called_for(company: Map, flow: Flow) -> Contact | None:
    """Who is called when a flow can't go on by itself: its `escalate_to`, else its target's owner."""
    return contact(flow.escalate_to) if flow.escalate_to else owner_of(company, flow.to)
