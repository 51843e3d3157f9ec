"""What a digest is made of, and what a section of it is made from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from sorbus.map.contact import Contact
from sorbus.mapfile.model import Map
from sorbus.ops.digest.recipient import Recipient
from sorbus.ops.monitoring.measure import Measurement
from sorbus.settings import Settings
from sorbus.state import State


@dataclass(frozen=True, slots=True)
class DigestItem:
    """One line. `path` is the console's page, "" where there is none; `grave`: it needs action."""

    words: str
    path: str = ""
    grave: bool = True


@dataclass(frozen=True, slots=True)
class DigestSection:
    title: str
    items: tuple[DigestItem, ...]


@dataclass(frozen=True, slots=True)
class Digest:
    """What one person or team is told; `contact` None: the operators of Sorbus, who get everything."""

    contact: Contact | None
    systems: tuple[str, ...]
    since: datetime
    until: datetime
    sections: tuple[DigestSection, ...]

    @property
    def grave(self) -> int:
        """How many lines need action."""
        return sum(item.grave for section in self.sections for item in section.items)


@dataclass(frozen=True, slots=True)
class DigestRequest:
    """What digests are about: a whole company between `since` and `until`."""

    company: Map
    settings: Settings
    state: State
    measured: Measurement
    since: datetime
    until: datetime


class DigestPart(Protocol):
    """A section's facts, gathered once for all recipients."""

    @property
    def title(self) -> str: ...
    def items(self, recipient: Recipient) -> Iterable[DigestItem]:
        """The lines that concern a recipient; none: the section is left out."""
        ...
