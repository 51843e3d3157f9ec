"""The plug-in point: what a producer and a consumer of some kind of system are.

A producer yields batches of changes with a position; a consumer applies a batch and returns what it could not apply
and why. Neither knows Kafka: the loops in `sorbus.producers.loop` and `sorbus.consumers.loop` own offsets, retries,
dead letters, metrics and shutdown, once for all kinds. A package adds a kind by naming its class under the entry
points `sorbus.producers` or `sorbus.consumers`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, cast, runtime_checkable

from pydantic import BaseModel, JsonValue

from sorbus.errors import Finding, PermanentError, SorbusError
from sorbus.mapfile.document import Document
from sorbus.mapfile.model import DataType, FieldMapping, Flow, System
from sorbus.schema import Kind, RecordSchema

Position = dict[str, JsonValue]
Lookups = dict[str, dict[str, str]]


@dataclass(frozen=True, slots=True)
class BoundSystem:
    """A system of the map with its connection's secrets filled in (never log it)."""

    name: str
    system: System
    connection: BaseModel
    topic_prefix: str = ""
    folder: Path = Path()
    """Where the map is, and the files it names."""
    document: Document = field(default_factory=lambda: Document(Path("map.yaml")), repr=False, compare=False)
    """The map as it is written, for findings about the connection."""

    def finding(self, key: str, code: str, message: str, fix: str) -> Finding:
        """A finding about a key of the connection; "" about the connection itself."""
        line = self.document.line("systems", self.name, "connection", *([key] if key else []))
        return Finding(self.document.file, line, f"{self.name}: {message}", fix, code)


@dataclass(frozen=True, slots=True)
class BoundSource:
    """A data type as its owner's producer needs it: where it is kept and how its fields become canonical."""

    name: str
    data_type: DataType
    schema: RecordSchema
    mapping: tuple[FieldMapping, ...]
    options: BaseModel
    lookups: Lookups = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BoundFlow:
    """A flow as its consumer needs it: where the data type goes and how canonical fields become the target's."""

    flow: Flow
    data_type: DataType
    schema: RecordSchema
    mapping: tuple[FieldMapping, ...]
    options: BaseModel
    system: BoundSystem
    lookups: Lookups = field(default_factory=dict)
    ask: str = ""
    """Who knows more about the records: the owner of their system of record."""
    resources: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Each data type that comes to the system, by whatever flow -> the resources that take it."""


class Change(NamedTuple):
    """A record's full new state: `data` is the canonical record in Avro binary, None when it was deleted.

    `version` grows with every change of the system; `occurred_at` is in microseconds since 1970 (UTC).
    """

    data_type: str
    id: bytes
    version: int
    occurred_at: int
    data: bytes | None


class RejectedRecord(NamedTuple):
    """A source row that can't be made canonical: it becomes a dead letter, `raw` being the row as JSON."""

    data_type: str
    id: bytes
    version: int
    occurred_at: int
    raw: bytes
    error: PermanentError


class StaleRecordDeletion(NamedTuple):
    """Every record whose last version on the topic is below `version` is gone: a TRUNCATE, or the end of a resnapshot.

    `spares_rejected`: but not a record with an open dead letter, since its row may be there and only not canonical.
    """

    data_type: str
    version: int
    occurred_at: int
    spares_rejected: bool = False


class Batch(NamedTuple):
    """What a producer read next. Sweeps happened before the changes. `position` is where to go on after it."""

    changes: Sequence[Change]
    rejects: Sequence[RejectedRecord]
    sweeps: Sequence[StaleRecordDeletion]
    position: Position
    caught_up: bool
    copied: tuple[str, int, int] | None = None
    """During an initial snapshot: data type, records so far, records expected."""
    resolved: Sequence[tuple[str, bytes]] = ()
    """(data type, id): rejects that a later change of their row has made obsolete, though there is no such record."""


class Producer(Protocol):
    """Captures the changes of one system."""

    def open(self, position: Position | None) -> None:
        """Connects and goes on after `position`; None: from the beginning, with an initial snapshot.

        TransientError, AuthError, LostPosition.
        """

    def read(self, wait: float) -> Batch | None:
        """The next batch; None when nothing came within `wait` seconds. TransientError: close, back off, open again.

        Unfinished, after `wait` seconds: it can't begin yet (a lock, a limit), says why, and is to be asked again.
        """

    def confirm(self, position: Position) -> None:
        """Everything up to `position` is safely on the bus: the source may forget it."""

    def resnapshot(self, data_types: Sequence[str]) -> None:
        """Publish every record of these data types again, in the batches to come."""

    def lag(self) -> int | None:
        """Bytes (or records) the source holds back for us; None if it can't be told. Needs no `open` before it."""

    def close(self) -> None: ...


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


class Delivery(NamedTuple):
    """One change event on its way to a target: the newest of its record in this batch.

    `data` holds the whole frame and `at` where the canonical record begins in it, laid out as `schema` says.
    """

    id: bytes
    version: int
    deleted: bool
    schema: RecordSchema
    data: bytes
    at: int


class RejectedDelivery(NamedTuple):
    """A delivery that the target refuses, by its place in the batch, and why."""

    place: int
    error: PermanentError


class Consumer(Protocol):
    """Delivers one flow to one system."""

    def open(self) -> None:
        """Connects. TransientError, AuthError, MapError."""

    def apply(
        self, deliveries: Sequence[Delivery], *, again: bool = False, alone: bool = False
    ) -> list[RejectedDelivery]:
        """Brings the target up to date, all or nothing but for the refused, and returns those.

        An older or equal version changes nothing; with `again` (a replay) an equal version is written once more.
        `alone`: another process may be delivering the same records at this moment (a replay, a requeue).
        TransientError: nothing was applied, or a part that changes nothing when it comes again; try again later.
        Unfinished: a part was applied, and the rest needs time; call again with the same deliveries.
        """

    def close(self) -> None: ...


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


@dataclass(frozen=True, slots=True)
class Step:
    """One difference between what the map asks for and what is there. `apply` None: a person has to do it."""

    where: str
    what: str
    detail: str = ""
    apply: Callable[[], None] | None = None


class ProducerConnector(Protocol):
    """A kind of system that can be a system of record."""

    Connection: type[BaseModel]
    Source: type[BaseModel]

    def __call__(self, system: BoundSystem, sources: Sequence[BoundSource]) -> Producer: ...
    def plan(self, system: BoundSystem, sources: Sequence[BoundSource]) -> list[Step]:
        """What `sorbus apply` has to make; nothing once it is there. MapError, TransientError, AuthError."""

    def resources_of(self, options: BaseModel) -> dict[str, str]:
        """Which resource holds which part: "" for the record itself, a list field's name for its items."""


@runtime_checkable
class WarnsOfSource(Protocol):
    """A producer connector that can tell beforehand which records will become dead letters."""

    def source_warnings(self, system: BoundSystem, sources: Sequence[BoundSource]) -> list[str]:
        """For `sorbus plan` and `apply`: each with its fix. Nothing keeps the producer from running.

        TransientError, AuthError, MapError.
        """


@runtime_checkable
class WarnsOfTarget(Protocol):
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


class ConsumerConnector(Protocol):
    """A kind of system that can be a target."""

    Connection: type[BaseModel]
    Target: type[BaseModel]

    def __call__(self, flow: BoundFlow) -> Consumer: ...
    def plan(self, flow: BoundFlow) -> list[Step]:
        """As a producer's."""

    def resources_of(self, options: BaseModel) -> dict[str, str]:
        """As a producer's."""


def producer_connector(kind: str) -> ProducerConnector:
    """The connector that captures from systems of `kind`."""
    return cast("ProducerConnector", _load("sorbus.producers", kind))


def consumer_connector(kind: str) -> ConsumerConnector:
    """The connector that delivers to systems of `kind`."""
    return cast("ConsumerConnector", _load("sorbus.consumers", kind))


def known_kinds(group: str) -> list[str]:
    """Every kind installed under the entry point group `sorbus.producers` or `sorbus.consumers`."""
    return list(_known_kinds(group))


@cache
def _known_kinds(group: str) -> tuple[str, ...]:
    return tuple(sorted({entry.name for entry in entry_points(group=group)}))


@cache
def _load(group: str, kind: str) -> Any:
    for entry in entry_points(group=group, name=kind):
        return entry.load()
    raise SorbusError(f"no connector for kind {kind!r}; installed: {', '.join(known_kinds(group)) or 'none'}")
