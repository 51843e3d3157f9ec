"""What a reconciliation found: the records that differ, and what was compared at all. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, NamedTuple, get_args

DifferenceKind = Literal["missing", "extra", "different", "stale", "unread"]
"""missing: only the owner has it; extra: only the target; different: other values; stale: not delivered yet; unread:
the target doesn't let it be read, so that it agrees with nothing.
"""
Cause = Literal[
    "dead_letter",
    "waiting",
    "producer_behind",
    "flow_behind",
    "flow_paused",
    "undeliverable",
    "foreign",
    "same_key",
    "unreadable",
    "unexplained",
]
"""Why a record differs, for programs: what a dead letter or a waiting record says; the owner's producer or the flow
hasn't passed it yet; a delivery now would be refused; Sorbus never wrote it; the target's key column can't tell it from
another record; the target doesn't let it be read; nothing that Sorbus knows explains it.
"""
CAUSES: tuple[Cause, ...] = get_args(Cause)
Method = Literal["checksums", "list", "sample", "topic", "changed"]
"""How records were compared: checksums in both databases, a target's list pages, a rolling sample of it, record by
record from the topic, or only those that changed since the last reconciliation.
"""


class FieldDifference(NamedTuple):
    """A target's field and its value on each side as text, None where it has none; masked if it is personal.

    `LIST[]` is how many items a list has, `[]` how many rows have the record's id.
    """

    field: str
    owner: str | None
    target: str | None


class Behind(NamedTuple):
    """Who has yet to pass what the owner holds, and that as a sentence."""

    cause: Cause
    sentence: str


class RecordDifference(NamedTuple):
    """A record on which owner and target disagree: `cause` for programs, `why` for people."""

    id: str
    kind: DifferenceKind
    fields: Sequence[FieldDifference] = ()
    why: str = ""
    cause: Cause = "unexplained"


class Coverage(NamedTuple):
    """How many of a flow's `records` have been looked at, now or earlier, and when the longest ago (`oldest`).

    `a_day`: the requests that a day may take, None for all; `days` that a full round takes with them.
    """

    records: int
    looked_at: int
    oldest: datetime | None
    a_day: int | None
    days: int | None

    @property
    def sentence(self) -> str:
        """For people."""
        said = f"looked at {self.looked_at:,} of {self.records:,} records"
        if self.oldest is not None:
            said += f", the longest ago at {self.oldest.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
        if self.a_day is not None:
            said += f"; with {self.a_day:,} requests a day a full round takes {self.days:,} day{'s' * (self.days != 1)}"
        return said


@dataclass(slots=True)
class ReconcileReport:
    """One reconciliation of one flow.

    `owner_records` and `target_records` are counts of the sides (None: not counted), `compared` the records that were
    compared. `differences` holds details of at most `MOST_SHOWN`; `counts` counts all of them by kind. `undecided` are
    records that changed faster than they could be compared. `not_compared`: what was left out, a sentence each;
    `from_topic`: fields that were compared with what the topic holds, not with the owner, and why.
    """

    flow: str
    method: Method
    started_at: datetime
    finished_at: datetime | None = None
    owner_records: int | None = None
    target_records: int | None = None
    compared: int = 0
    rows_fetched: int = 0
    bytes_scanned: int = 0
    differences: list[RecordDifference] = field(default_factory=list)
    counts: dict[DifferenceKind, int] = field(default_factory=dict)
    in_flight: int = 0
    undecided: int = 0
    not_compared: list[str] = field(default_factory=list)
    from_topic: list[str] = field(default_factory=list)
    coverage: Coverage | None = None
    would: dict[str, str] = field(default_factory=dict)
    """What delivering a differing record again would do, where a dry run has told."""

    @property
    def total(self) -> int:
        """How many records differ."""
        return sum(self.counts.values())

    @property
    def is_whole(self) -> bool:
        """Whether every record and field was compared and decided."""
        is_part = self.coverage is not None and self.compared < self.coverage.records
        return not self.not_compared and not self.undecided and not is_part

    def add(self, difference: RecordDifference) -> None:
        """Counts a difference, and keeps it while there is room."""
        self.counts[difference.kind] = self.counts.get(difference.kind, 0) + 1
        if len(self.differences) < MOST_SHOWN:
            self.differences.append(difference)


MOST_SHOWN = 10_000
