"""What consumers offer to plans and reconciliation: their own delivery without effect, and what it may read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from sorbus.abilities import Preview
from sorbus.connector import Delivery


class DryRunReads(NamedTuple):
    """How a dry run reads its target.

    `reads_list`: the target's list is read at once, in place of each record alone, unless that takes more than
    `most_requests`. `searches`: records that aren't linked are looked for, as a delivery would. `before_request` is
    called before each request, and raises what is to end the dry run.
    """

    reads_list: bool = False
    searches: bool = True
    most_requests: int | None = None
    before_request: Callable[[], None] = lambda: None


@dataclass(slots=True)
class ListReading:
    """A target's list as read: its records; `unlinked`: those that Sorbus neither made nor linked, None uncounted.

    `why_short`: what shows that it lacks records that are there, "" where nothing does; final once the dry run ends.
    """

    records: int
    unlinked: int | None = None
    why_short: str = ""


@runtime_checkable
class SupportsDryRun(Protocol):
    """A consumer that can run its own delivery without effect, for many records that depend on each other."""

    def begin_dry_run(self, reads: DryRunReads) -> ListReading | None:
        """In place of `open`: until `close` nothing is kept of what `preview_all` does. The same errors.

        The list, where it was read.
        """

    def preview_all(self, deliveries: Sequence[Delivery]) -> list[Preview]:
        """What `apply(..., again=True)` would do with each, after everything previewed before; one event per record.

        `request["changes"]` maps each field that would change to its old and new value. "unread": the target doesn't
        let this record be read. TransientError, AuthError; RateLimited.
        """


@runtime_checkable
class WriteOnly(Protocol):
    """A consumer connector whose targets can't be read: its dry run knows only which versions they accepted."""

    is_write_only: Literal[True]


@runtime_checkable
class SupportsLinkListing(Protocol):
    """A consumer that knows which records of its target's list it has made or linked."""

    def listed_links(self) -> Iterator[str]:
        """Their owner's ids; those that were deleted and are there again too. After a list was read."""


@runtime_checkable
class SupportsUncompared(Protocol):
    """A consumer whose dry run can't compare some of the fields that its flow fills."""

    def uncompared(self) -> Iterator[str]:
        """They, with why, a sentence each. MapError; asks nobody."""
