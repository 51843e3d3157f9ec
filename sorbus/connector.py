"""The plug-in point: what a producer and a consumer of some kind of system are.

A producer yields batches of changes with a position; a consumer applies a batch and returns what it could not apply
and why. Neither knows Kafka: the loops in `sorbus.producers.loop` and `sorbus.consumers.loop` own offsets, retries,
dead letters, metrics and shutdown, once for all kinds. A package adds a kind by naming its class under the entry
points `sorbus.producers` or `sorbus.consumers`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

from pydantic import BaseModel, JsonValue

from sorbus.errors import Finding, PermanentError, SorbusError
from sorbus.mapfile.document import Document
from sorbus.mapfile.model import DataType, FieldMapping, Flow, System
from sorbus.schema import RecordSchema

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


@dataclass(frozen=True, slots=True)
class Step:
    """One difference between what the map asks for and what is there. `apply` None: a person has to do it."""

    where: str
    what: str
    detail: str = ""
    apply: Callable[[], None] | None = None
    at_start: bool = False
    """The system's producer does it by itself when it starts; `apply` does nothing."""


class ProducerConnector(Protocol):
    """A kind of system that can be a system of record."""

    Connection: type[BaseModel]
    Source: type[BaseModel]

    def __call__(self, system: BoundSystem, sources: Sequence[BoundSource]) -> Producer: ...
    def plan(self, system: BoundSystem, sources: Sequence[BoundSource]) -> list[Step]:
        """What `sorbus apply` has to make; nothing once it is there. MapError, TransientError, AuthError."""

    def resources_of(self, options: BaseModel) -> dict[str, str]:
        """Which resource holds which part: "" for the record itself, a list field's name for its items."""


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
