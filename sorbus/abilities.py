"""What a connector may offer besides capture and delivery: each ability is a small protocol, used where it is there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

from pydantic import BaseModel, JsonValue

from sorbus.connector import (
    BoundFlow,
    BoundSource,
    BoundSystem,
    Delivery,
)
from sorbus.diagnosis import Diagnosis
from sorbus.schema import Kind


class PublishedState(NamedTuple):
    """The last state of a record on its topic. `data` is the canonical record in Avro, in the schema of `source`.

    It is empty where that can't be told, or where the record has an open dead letter: publish it when it is read next.
    """

    id: bytes
    version: int
    occurred_at: int
    data: bytes


class Notice(NamedTuple):
    """What a webhook said: this record of this resource has changed, or is gone. Its state is still to be read."""

    resource: str
    id: str
    deleted: bool
    received_at: int


@runtime_checkable
class SupportsState(Protocol):
    """A producer that compares with what it has published: a poll sees states, not changes.

    A TransientError of its `read` doesn't close it: it is called again, and goes on where it was.
    """

    def remember(self, data_type: str, published: Iterable[PublishedState]) -> None:
        """Called for each data type before `open`: every live record on the topic."""


@runtime_checkable
class SupportsTakeover(Protocol):
    """A producer that can go on above versions that aren't its own: another system's, or of a topic that was lost."""

    def take_over(self, floors: Mapping[str, int]) -> None:
        """Called before `open`: every record of these data types is published (again), above these versions.

        At the end a StaleRecordDeletion takes away what else is on their topics, where what was read proves that it
        is gone.
        """


@runtime_checkable
class SupportsNotifications(Protocol):
    """A producer that can be told of changes between its polls."""

    def hear(self, notices: Sequence[Notice]) -> None:
        """The next `read` returns these records' states; notices are told again until it has been published.

        A producer that looks them up over several reads has a property `owes`: whether some are still to come.
        """


@runtime_checkable
class SupportsFullRefresh(Protocol):
    """A producer that can compare everything at once, as when notices of webhooks were lost."""

    def list_anew(self) -> None:
        """Reads every record sooner than it would. After `open`."""


@runtime_checkable
class SupportsProgress(Protocol):
    """A producer that knows when a part of its source can't be read while the rest goes on."""

    @property
    def problem(self) -> str | None:
        """What is wrong, in a sentence; None for nothing."""


@runtime_checkable
class SupportsRefetch(Protocol):
    """A producer that can read single records of its source again."""

    def reread(self, data_type: str, ids: Sequence[bytes]) -> None:
        """Batches to come hold these records' states at that time, with higher versions than any before.

        Called after `open`; what wasn't read when the producer is closed is asked for again.
        """


@runtime_checkable
class SupportsVersions(Protocol):
    """A consumer that can say where its target holds newer versions than it was given."""

    def newer(self, deliveries: Sequence[Delivery]) -> Mapping[bytes, int]:
        """Of deliveries of the last `apply` that weren't refused: id -> the target's version, where that is newer.

        Called after each `apply`, so it asks the target only where something has changed nothing. TransientError.
        """


class Preview(NamedTuple):
    """What delivering a record would do: `action` in a word, `why` in a sentence, `request` as it would be sent."""

    action: Literal["create", "update", "delete", "link", "ask", "nothing", "older", "refuse", "wait", "hold"]
    why: str
    request: JsonValue = None


def older_preview(version: int, newer: int) -> Preview:
    """What is to be said of an event that is older than what the target has."""
    return Preview(
        "older", f"it has version {newer}, newer than this event's ({version}), so that the event changes nothing there"
    )


@runtime_checkable
class SupportsHealthCheck(Protocol):
    """A consumer that can tell at little cost whether its target still answers, while nothing is to be delivered."""

    def check(self) -> None:
        """Returns if it does; TransientError, AuthError otherwise."""
        ...


@runtime_checkable
class SupportsPreview(Protocol):
    """A consumer that can say what it would do."""

    def preview(self, delivery: Delivery) -> Preview:
        """What `apply` would do with it just now; changes nothing anywhere."""


@runtime_checkable
class SupportsLookup(Protocol):
    """A consumer that can show what its target has of a record."""

    def look(self, id: str) -> Mapping[str, JsonValue] | None:
        """The target's own fields by name, of the record with this owner's id, just now; None if it has none.

        Called after `open`; changes nothing. TransientError, AuthError.
        """


class Erased(NamedTuple):
    """What erasing a deleted record in a target found: rows blanked (or to be blanked), and what a person must do."""

    rows: int
    left: str = ""


@runtime_checkable
class SupportsErasure(Protocol):
    """A consumer that can take what a delivered delete leaves of a record's personal fields out of its target."""

    def erase(self, id: str, *, dry_run: bool = False) -> Erased:
        """Blanks them, and says what is there still. Safe to run again. TransientError, AuthError, PermanentError."""


@runtime_checkable
class SupportsRequiredFields(Protocol):
    """A consumer that knows what its target can't be without."""

    def needs(self) -> Mapping[str, str]:
        """Canonical field -> the target's field that it alone fills and that must have a value. After `open`."""


@runtime_checkable
class SupportsMerge(Protocol):
    """A consumer that can take away records of its target that a person has found to be doubles of others."""

    def ways(self) -> frozenset[Literal["merge", "delete"]]:
        """How it can: by the target's own merging, by deleting. After `open`."""

    def retire(self, external_id: str, survivor: str, way: Literal["merge", "delete"]) -> str:
        """Takes it away; the survivor's id, which merging may have changed. Gone already is fine.

        TransientError, AuthError, PermanentError with the target's own words.
        """


@runtime_checkable
class DetectsConflicts(Protocol):
    """A connector whose consumers look at what the target has before they write it: only they can see a conflict."""

    compares: bool


class CatalogField(NamedTuple):
    """A field as the system itself describes it."""

    name: str
    kind: Kind
    native: str
    required: bool
    item: Kind | None = None
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Resource:
    """A table, sheet or API resource of a system, found by looking."""

    name: str
    fields: tuple[CatalogField, ...]
    key: tuple[str, ...]
    records: int | None = None
    parents: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Other resources this one refers to: (resource, own fields)."""


@runtime_checkable
class SupportsSourceWarnings(Protocol):
    """A producer connector that can tell beforehand which records will become dead letters."""

    def source_warnings(self, system: BoundSystem, sources: Sequence[BoundSource]) -> list[str]:
        """For `sorbus plan` and `apply`: each with its fix. Nothing keeps the producer from running.

        TransientError, AuthError, MapError.
        """


@runtime_checkable
class SupportsTargetWarnings(Protocol):
    """A consumer connector that can tell beforehand which values a target can't keep."""

    def target_warnings(self, flow: BoundFlow) -> list[str]:
        """As a producer's; each names flow, field and column."""


@runtime_checkable
class SupportsIdListing(Protocol):
    """A producer connector that can list the ids of a data type's records without reading the records."""

    def ids(self, system: BoundSystem, source: BoundSource) -> Iterable[bytes]:
        """As they are on the topic, for `sorbus plan`. TransientError, AuthError."""


@runtime_checkable
class SupportsLocation(Protocol):
    """A connector that can tell whether two systems are one."""

    def location(self, system: BoundSystem, *, ask: bool = False) -> str | None:
        """Where its data is, by its connection and without secrets; with `ask` by what the system says of itself.

        None where that can't be told. TransientError, AuthError with `ask`.
        """


@runtime_checkable
class SupportsDescription(Protocol):
    """A connector that knows a system's resources without reaching it, from a description."""

    def describe(self, system: BoundSystem) -> list[Resource]:
        """What the system holds, for the map's check. MapError."""


@runtime_checkable
class SupportsDiscovery(Protocol):
    """A connector that can ask a system what it holds."""

    def discover(self, system: BoundSystem) -> list[Resource]:
        """For `sorbus discover`. MapError, TransientError, AuthError."""


@runtime_checkable
class SupportsDiagnosis(Protocol):
    """A connector that can examine a system: version, clock, what it has left to give."""

    def diagnose(self, system: BoundSystem) -> Iterator[Diagnosis]:
        """For `sorbus doctor`; changes nothing, within seconds. TransientError, AuthError, MapError."""


class NullCount(NamedTuple):
    """Of so many rows looked at, how many have no value; `is_sample`: there are more rows than were looked at."""

    rows: int
    nulls: int
    is_sample: bool


@runtime_checkable
class SupportsNullCounts(Protocol):
    """A connector that can count the records that lack a value."""

    def count_nulls(self, system: BoundSystem, columns: dict[str, list[str]]) -> dict[tuple[str, str], NullCount]:
        """For `sorbus discover`: of resources' columns. Bounded in time; what may not be read is left out.

        TransientError, AuthError.
        """


@runtime_checkable
class SupportsTargetSchema(Protocol):
    """A consumer connector whose resources have fields of their own, to which the map's check holds the mapping."""

    def makes_tables(self, options: BaseModel) -> bool:
        """Whether Sorbus makes the target's resources itself, from the data type's schema."""

    def fills(self, options: BaseModel) -> dict[str, frozenset[str]]:
        """Part -> columns that the connector fills by itself: the record's id, an item's parent and place."""


@runtime_checkable
class SupportsSampling(Protocol):
    """A connector that can show how a system's values are written."""

    def sample(self, system: BoundSystem, resource: str, limit: int) -> list[dict[str, object]]:
        """A few records of a resource by field, only read, for `sorbus map suggest --samples`."""


@runtime_checkable
class SupportsMapping(Protocol):
    """A connector that can show what it makes of one raw record."""

    def canonical(self, system: BoundSystem, source: BoundSource, record: dict[str, Any]) -> dict[str, object]:
        """The canonical record, field by field. PermanentError that names field, value and rule."""
