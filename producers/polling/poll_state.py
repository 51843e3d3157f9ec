"""What a poll asks, what it finds, where it stands, and what it has to know of its resource."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from pydantic import JsonValue

from sorbus.connector import Change, RejectedRecord
from sorbus.errors import PermanentError
from sorbus.http_api.answers import same_id
from sorbus.http_api.interface import Page, Record


class AskPage(NamedTuple):
    """A page of what changed since then (microseconds; None: of all records), from the beginning or `after` another."""

    since: int | None
    after: str | None


class AskRecord(NamedTuple):
    """One record, by its own address."""

    id: str


@dataclass(slots=True)
class PageResult:
    """What a page or a look brought, and how many records were read for it. `copied`: the snapshot so far, expected.

    `resolved`: ids whose dead letters have become obsolete, although no record resulted.
    """

    changes: list[Change] = field(default_factory=list)
    rejects: list[RejectedRecord] = field(default_factory=list)
    read: int = 0
    copied: tuple[int, int] | None = None
    resolved: list[bytes] = field(default_factory=list)


UNREADABLE: Record = {"": "the application doesn't let us read this one"}
"""What is sent for a record whose own address is refused: it is there, and that is all we know."""
Steps = Generator["AskPage | AskRecord | PageResult", "Page | Record | None", None]
Taking = Generator["AskPage | AskRecord | PageResult", "Page | Record | None", PageResult]
NO_ID = b"no-id:"
"""Begins the id under which a record without a valid one has its dead letter."""


class NamelessRecord(PermanentError):
    """A record without a valid id by a fault of its own, which its source names: the answer is as described."""


class HeldDeletes(NamedTuple):
    """Records that look deleted and are too many to believe it: they stay until a person confirms.

    `known`: how many records were published of the data type; `why` ends the sentence "the list lacks ...".
    """

    ids: tuple[bytes, ...]
    known: int
    why: str


class Quiet(NamedTuple):
    """Reads from before the cursor that took many pages and brought nothing: the next one waits. Microseconds.

    `passes`: such reads in a row; `cost`: how long the last one took; `first_at`, `next_at` by our clock.
    """

    passes: int
    cost: int
    first_at: int
    next_at: int


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
    quiet: Quiet | None = None
    timeless: int = 0
    """Records of the last whole list without an update time: polls for changes may never show them."""
    is_short: bool = False
    """The last list gave fewer records than it said it has, or lacked some that could not be looked at."""
    looks: tuple[str, ...] = ()
    """Records that are said to be gone, and whose addresses still showed them."""
    is_again: bool = False
    """Every record is to be published again, and the list that does so isn't through."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a poll has to know of the resource; times in microseconds.

    `grain`: the finest step in which {since} can be written. `can_look`: records can be read by their id. `id_of`
    raises PermanentError for a record without a valid one. `max_deletes`: most that one list may lack without a
    person's confirmation; None: by share.
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
    max_deletes: int | None = None
    id_path: str = ""
    weak_proof: str = "and there is no way to ask for one of them alone"
    """Why a list that lacks many records isn't believed, where records can't be looked at: ends a sentence."""

    def is_other(self, id: str, record: Record) -> bool:
        """Whether the address of `id` shows another record: the one that it was merged into."""
        try:
            return not same_id(self.id_of(record).decode(), id)
        except PermanentError:  # that is said where the record is judged
            return False

    def written(self, time: int) -> int:
        """The {since} that brings everything from `time` on, as it will be written."""
        return max(0, time - time % self.grain - (0 if self.inclusive else self.grain))


def parts_left(stored: Mapping[str, JsonValue], mapped: Collection[str]) -> dict[str, JsonValue]:
    """What a position keeps of data types that have left the map: above which versions they go on when they come back.

    `stored`: data type -> its part of the position, and other things; all else of such a part is forgotten, so that
    they are listed as at the first time.
    """
    return {
        name: {key: part[key] for key in ("deleted_version", "floor") if key in part}
        for name, part in stored.items()
        if name not in mapped and isinstance(part, dict) and "deleted_version" in part
    }


def out(found: PageResult) -> Taking:
    """Yields what there is to publish before the next question; what to go on with.

    While that waits for its answer others read too: what they publish of the same record is newer, and must come after.
    """
    if not found.changes and not found.rejects:
        return found
    yield found
    return PageResult()


def add(found: PageResult, judged: object) -> None:
    """Takes a change or reject into what was found; a verdict or None is nothing to publish."""
    if isinstance(judged, Change):
        found.changes.append(judged)
    elif isinstance(judged, RejectedRecord):
        found.rejects.append(judged)
