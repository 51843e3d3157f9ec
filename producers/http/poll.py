"""What a poll asks, what it finds, where it stands, and what it has to know of its resource."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import NamedTuple

from sorbus.api.interface import Page, Record
from sorbus.connector import Change, Reject


class AskPage(NamedTuple):
    """A page of what changed since then (microseconds; None: of all records), from the beginning or `after` another."""

    since: int | None
    after: str | None


class AskRecord(NamedTuple):
    """One record, by its own address."""

    id: str


@dataclass(slots=True)
class Found:
    """What a page or a look brought, and how many records were read for it. `copied`: first copy so far, expected."""

    changes: list[Change] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    read: int = 0
    copied: tuple[int, int] | None = None


UNREADABLE: Record = {"": "the application doesn't let us read this one"}
"""What is sent for a record whose own address is refused: it is there, and that is all we know."""
Steps = Generator["AskPage | AskRecord | Found", "Page | Record | None", None]


class Copying(NamedTuple):
    """How far the first list is: the next page, the newest update time so far, how many records."""

    after: str
    newest: int | None
    records: int


@dataclass(slots=True)
class PollState:
    """Where the polls of one data type go on; all times in microseconds since 1970.

    `cursor` is a record's own update time, never our clock's. `compared_at` (our clock) is when the last complete list
    began, None while the first is not complete; `newest` is what the pass before found, `copying` how far this one is.
    """

    cursor: int | None = None
    compared_at: int | None = None
    newest: int | None = None
    copying: Copying | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """What a poll has to know of the resource; times in microseconds.

    `grain`: the finest step in which {since} can be written. `can_look`: records can be read by their id. `id_of`
    raises TransientError for a record without one: the answer isn't as described, and nothing follows from it.
    """

    name: str
    id_of: Callable[[Record], bytes]
    updated: Callable[[Record], int | None]
    is_deleted: Callable[[Record], bool]
    has_changes: bool
    can_look: bool
    ascending: bool = False
    inclusive: bool = True
    grain: int = 1
    overlap: int = 0
    page_size: int = 1
    may_vanish: bool = False
