"""Optional abilities of a connector: each is a small protocol, used where the connector implements it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

from pydantic import JsonValue

from sorbus.connector import (
    BoundFlow,
    BoundSource,
    BoundSystem,
    Change,
    Delivery,
    Position,
    RejectedRecord,
)
from sorbus.schema import Kind


class PublishedState(NamedTuple):
    """The last state of a record on its topic. `data` is the canonical record in Avro, in the schema of `source`.

    It is empty if it can't be decoded, or if the record has an open dead letter: publish the record when next read.
    """

    id: bytes
    version: int
    occurred_at: int
    data: bytes


class Notice(NamedTuple):
    """What a webhook reported: this record of this resource changed or was deleted. Its state is still to be read."""

    resource: str
    id: str
    deleted: bool
    received_at: int


@runtime_checkable
class TellsDeliveries(Protocol):
    """A producer that tells the states that Sorbus itself wrote into its source: see `Batch.delivered`."""

    tells_deliveries: bool


@runtime_checkable
class LimitsTwoWay(Protocol):
    """A producer connector that tells its own deliveries of some data types only."""

    def why_one_way(self, system: BoundSystem, source: BoundSource) -> str | None:
        """Why its records can't be two-way: ends "Sorbus can't tell ... since "; None if they can. MapError."""


@runtime_checkable
class SupportsFirstList(Protocol):
    """A producer connector whose stored position says whether it has once read all records of a data type."""

    def has_listed(self, position: Position, data_type: str) -> bool:
        """Whether it has, and they are published."""


@runtime_checkable
class SupportsRecordReading(Protocol):
    """A producer connector whose raw records others can make canonical."""

    def record_reader(self, system: BoundSystem, source: BoundSource) -> Callable[[dict[str, Any]], bytes]:
        """From a raw record to canonical Avro in the schema of `source`; it raises PermanentError. MapError."""


@runtime_checkable
class SupportsRepeat(Protocol):
    """A producer that marks batches as `is_repeatable`: these may be published without a transaction.

    They may be on their topics though the position before them is the last stored one. What is there already is not
    published again: their versions grow from change to change, over all data types.
    """

    def repeat_while(self, is_behind: Callable[[], bool]) -> None:
        """Called after `open`: while `is_behind`, no batch holds two commits, and nothing is read but the stream.

        It may end earlier: when the stream has told all that was committed at the time of this call.
        """

    @classmethod
    def has_passed(cls, position: Position, mark: int, data_type: str) -> bool:
        """Whether all of the data type up to version `mark` came before `position`."""


@runtime_checkable
class SupportsState(Protocol):
    """A producer that compares what it reads with what it published: a poll sees states, not changes.

    A TransientError of its `read` doesn't close it: the next `read` resumes where it stopped.
    """

    def remember(self, data_type: str, published: Iterable[PublishedState]) -> None:
        """Called for each data type before `open`: every live record on the topic."""


@runtime_checkable
class SupportsTakeover(Protocol):
    """A producer that can publish above versions it didn't assign: another system's, or those of a lost topic."""

    def take_over(self, floors: Mapping[str, int]) -> None:
        """Called before `open`: republish every record of these data types, with versions above these.

        It ends with a StaleRecordDeletion, which deletes what else is on their topics once reading the source has
        proved it absent.
        """


@runtime_checkable
class SupportsSuccession(Protocol):
    """A producer to which it matters that another system published its data type last."""

    def succeed(self, data_type: str, former: str) -> None:
        """Called before `take_over`: `former` published it last."""


@runtime_checkable
class SupportsNotifications(Protocol):
    """A producer that accepts notifications of changes between its polls."""

    def hear(self, notices: Sequence[Notice]) -> None:
        """The next `read` returns these records' states; notices are repeated until those states are published.

        A producer that fetches them over several reads has a property `owes`: whether any are still outstanding.
        """


@runtime_checkable
class SupportsFullRefresh(Protocol):
    """A producer that can compare all records on request, for instance after webhook notices were lost."""

    def list_anew(self) -> None:
        """Start a full refresh before it is due. Called after `open`."""


@runtime_checkable
class SupportsProgress(Protocol):
    """A producer that knows when a part of its source can't be read while the rest is."""

    @property
    def problem(self) -> str | None:
        """What is wrong, in one sentence; None if nothing is."""


@runtime_checkable
class SupportsRefetch(Protocol):
    """A producer that can read single records of its source again."""

    def reread(self, data_type: str, ids: Sequence[bytes]) -> None:
        """Later batches include these records' current states, with higher versions than any before.

        Called after `open`; ids not yet read when the producer closes are requested again.
        """


@runtime_checkable
class SupportsVersions(Protocol):
    """A consumer that can report where its target holds newer versions than it was given."""

    def newer(self, deliveries: Sequence[Delivery]) -> Mapping[bytes, int]:
        """Of the last `apply`'s deliveries that weren't rejected: id -> the target's version, where that is newer.

        Called after each `apply`, so query the target only when a delivery changed nothing. Raises TransientError.
        """


@runtime_checkable
class SupportsAppliedVersions(Protocol):
    """A consumer that can tell which version of a record its target has."""

    def versions(self, deliveries: Sequence[Delivery]) -> Mapping[bytes, int]:
        """Of any deliveries, also rejected ones: id -> the version applied last, where there is one. TransientError,
        AuthError.
        """


@runtime_checkable
class SupportsOutcomes(Protocol):
    """A consumer that knows what it did with what it was given."""

    def take_outcomes(self) -> Mapping[str, int]:
        """Since the last call: records `created`, `updated`, `linked`, `deleted`, `skipped` (nothing to change).

        `written`: created or updated, where the target doesn't tell which.
        """


@runtime_checkable
class TellsSubmitted(Protocol):
    """A consumer whose target is at work for a while after it was sent a whole batch: the next is fetched meanwhile."""

    on_submitted: Callable[[], None] | None
    """To be called at that time, before the answer is waited for."""


class Progress(NamedTuple):
    """A target has all events before this offset of a partition.

    `noted_at`: when that was noted, or when what it had last was written where it is behind; seconds since 1970.
    """

    offset: int
    noted_at: float


@runtime_checkable
class KeepsProgress(Protocol):
    """A consumer whose target keeps how far its flow has come, so that an earlier state of the target is noticed."""

    def progress(self, topic: str) -> Mapping[int, Progress]:
        """What was noted for a topic, by partition. TransientError, AuthError."""

    def note_progress(self, topic: str, offsets: Mapping[int, Progress]) -> None:
        """It has these, by partition; no offset or time that was noted goes back. TransientError, AuthError."""


class Preview(NamedTuple):
    """What delivering a record would do: `action` is one word, `why` a sentence, `request` what would be sent."""

    action: Literal[
        "create", "update", "delete", "link", "ask", "nothing", "older", "refuse", "wait", "hold", "filter", "unread"
    ]
    why: str
    request: JsonValue = None


def older_preview(version: int, newer: int) -> Preview:
    """The preview of an event that is older than the target's version."""
    return Preview(
        "older",
        f"the target has version {newer}, newer than the event's ({version}), so the event changes nothing there",
    )


@runtime_checkable
class SupportsHealthCheck(Protocol):
    """A consumer that can check cheaply whether its target answers while there is nothing to deliver."""

    def check(self) -> None:
        """Returns if it answers; raises TransientError or AuthError if not."""
        ...


@runtime_checkable
class SupportsPreview(Protocol):
    """A consumer that can describe a delivery without making it."""

    def preview(self, delivery: Delivery) -> Preview:
        """What `apply` would do with it now; changes nothing."""


@runtime_checkable
class SupportsScan(Protocol):
    """A producer connector that can read all records of a data type without publishing them."""

    def scan(self, system: BoundSystem, source: BoundSource) -> Iterator[Sequence[Change | RejectedRecord]]:
        """Every record as it would be published (versions are 0), in batches. Changes nothing at the source.

        TransientError, AuthError, MapError; IncompleteRead, after what it read, where that isn't all there is.
        """


@runtime_checkable
class SupportsLookup(Protocol):
    """A consumer that can read a record from its target."""

    def look(self, id: str) -> Mapping[str, JsonValue] | None:
        """The target's own fields by name for the record with this owner's id; None if the target has no such record.

        Called after `open`; changes nothing. Raises TransientError, AuthError.
        """


class Erased(NamedTuple):
    """Result of erasing a deleted record in a target: rows blanked (or to be blanked), and what a person must do."""

    rows: int
    left: str = ""


class TargetTotals(NamedTuple):
    """How many records a target holds, and the sum of each field asked for."""

    records: int
    sums: Mapping[str, Decimal]


@runtime_checkable
class SupportsTotals(Protocol):
    """A consumer connector that can count a target's records, whoever entered them, with the right to read alone."""

    def totals(self, flow: BoundFlow, sums: Sequence[str]) -> TargetTotals:
        """Bounded in time; changes nothing. UsageError: a field that isn't there or can't be summed.

        TransientError, AuthError, MapError.
        """


class LastRead(NamedTuple):
    """When the rows of a target were last read, by anybody; times in seconds since 1970.

    `at`: None if not since `known_since`, from when on the target keeps count.
    """

    at: float | None
    known_since: float


@runtime_checkable
class SupportsLastRead(Protocol):
    """A consumer connector whose targets know when their rows were last read."""

    def last_read(self, flow: BoundFlow) -> LastRead | None:
        """None where this target doesn't know. Bounded in time; reads no rows. TransientError, AuthError."""


@runtime_checkable
class SupportsErasure(Protocol):
    """A consumer that can erase the personal fields that a delivered delete leaves in its target."""

    def erase(self, id: str, *, dry_run: bool = False) -> Erased:
        """Blanks them and reports what remains. Idempotent. Raises TransientError, AuthError, PermanentError."""


@runtime_checkable
class NeedsOwnPlace(Protocol):
    """A consumer connector whose place in a system takes one flow's records alone."""

    def place_of(self, flow: BoundFlow) -> str:
        """The place in words: that of another flow, or a topic of Sorbus's own (`topic NAME`), is refused."""


@runtime_checkable
class SupportsSilence(Protocol):
    """A consumer connector whose targets can be written without setting off their notifications."""

    def can_be_silent(self, flow: BoundFlow) -> bool:
        """Whether it writes the flow's historical deliveries silently. MapError."""


@runtime_checkable
class SupportsRequiredFields(Protocol):
    """A consumer that knows which of its target's fields are required."""

    def needs(self) -> Mapping[str, str]:
        """Canonical field -> the required target field that only it fills. Called after `open`."""


@runtime_checkable
class SupportsMerge(Protocol):
    """A consumer that can remove target records that a person has identified as duplicates."""

    def ways(self) -> frozenset[Literal["merge", "delete"]]:
        """How it can: with the target's own merge, or by deleting. Called after `open`."""

    def retire(self, external_id: str, survivor: str, way: Literal["merge", "delete"]) -> str:
        """Removes it and returns the survivor's id, which merging may have changed. A missing record is not an error.

        Raises TransientError, AuthError, and PermanentError with the target's own message.
        """


@runtime_checkable
class DetectsConflicts(Protocol):
    """A connector whose consumers read the target before they write, and so can detect conflicts."""

    compares: bool


class CatalogField(NamedTuple):
    """A field, as the system's catalog describes it."""

    name: str
    kind: Kind
    native: str
    required: bool
    item: Kind | None = None
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Resource:
    """A table, sheet or API resource of a system, found by discovery."""

    name: str
    fields: tuple[CatalogField, ...]
    key: tuple[str, ...]
    records: int | None = None
    parents: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Resources that this one refers to: (resource, own fields)."""
