"""The plug-in point: what a producer and a consumer for a kind of system implement.

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
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

from pydantic import BaseModel, JsonValue

from sorbus.errors import Finding, PermanentError, SorbusError
from sorbus.mapfile.document import Document
from sorbus.mapfile.model import DataType, FieldMapping, Flow, System
from sorbus.schema import RecordSchema
from sorbus.timing.delivery import DeliveryTimes

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
    """Where the map is, and the files that it names."""
    document: Document = field(default_factory=lambda: Document(Path("map.yaml")), repr=False, compare=False)
    """The map as written, for findings about the connection."""

    def finding(self, key: str, code: str, message: str, fix: str) -> Finding:
        """A finding about a key of the connection; "" about the connection itself."""
        line = self.document.line("systems", self.name, "connection", *([key] if key else []))
        return Finding(self.document.file, line, f"{self.name}: {message}", fix, code)


@dataclass(frozen=True, slots=True)
class BoundSource:
    """A data type as its owner's producer needs it: where it is stored and how its fields become canonical."""

    name: str
    data_type: DataType
    schema: RecordSchema
    mapping: tuple[FieldMapping, ...]
    options: BaseModel
    lookups: Lookups = field(default_factory=dict)
    reads: RecordSchema | None = None
    """The schema of the data type that a process step reads; None for all other sources."""
    shows: str = ""
    """The two-way data type whose records these are, as one of its systems shows them; "" for all other sources."""
    names_records: bool = True
    """Whether its ids are the data type's: not so where a system other than the system of record shows them."""


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
    """Who to ask about the records: the owner of their system of record."""
    resources: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Each data type that is delivered to the system, by any flow -> the resources that receive it."""
    times: DeliveryTimes | None = field(default_factory=DeliveryTimes)
    """When it delivers; None where the map's words for it can't be read."""
    shown: BoundSource | None = None
    """What the target shows of the records, where it changes them, too (two-way)."""
    places: frozenset[tuple[str, str, str]] = frozenset()
    """System, data type and resource of each flow of the map, "" for the resource of one that doesn't run."""

    def finding(self, code: str, message: str, fix: str) -> Finding:
        """A finding about the flow's `target:`."""
        document = self.system.document
        return Finding(document.file, document.line("flows"), f"{self.flow.id}: {message}", fix, code)


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
    """A source row that can't be made canonical; it becomes a dead letter. `raw` is the row as JSON."""

    data_type: str
    id: bytes
    version: int
    occurred_at: int
    raw: bytes
    error: PermanentError


data_type_of, version_of, record_of = itemgetter(0), itemgetter(2), itemgetter(0, 1)
"""Of a Change or RejectedRecord: its data type, its version, and both data type and id; without Python's cost a row."""


class StaleRecordDeletion(NamedTuple):
    """Every record whose last version on the topic is below `version` is deleted (TRUNCATE, or end of a resnapshot).

    `spares_rejected`: except records with an open dead letter, whose rows may exist but not be canonical.
    """

    data_type: str
    version: int
    occurred_at: int
    spares_rejected: bool = False


class Batch(NamedTuple):
    """What a producer read next. Stale record deletions precede the changes. `position` is where to resume after it."""

    changes: Sequence[Change]
    rejects: Sequence[RejectedRecord]
    sweeps: Sequence[StaleRecordDeletion]
    position: Position
    caught_up: bool
    copied: tuple[str, int, int] | None = None
    """During an initial snapshot: data type, records so far, records expected."""
    resolved: Sequence[tuple[str, bytes]] = ()
    """(data type, id): dead letters that a later change of their row made obsolete, although no record resulted."""
    delivered: Mapping[tuple[str, bytes, int], int] = {}
    """(Data type, id, version) of changes that Sorbus itself wrote into the source -> the version that it brought."""
    is_repeatable: bool = False
    """Whether the source gives the same changes with the same versions when it is read again: see `SupportsRepeat`."""


class Producer(Protocol):
    """Captures the changes of one system."""

    def open(self, position: Position | None) -> None:
        """Connects and resumes after `position`; None: from the beginning, with an initial snapshot.

        TransientError, AuthError, LostPosition.
        """

    def read(self, wait: float) -> Batch | None:
        """The next batch; None if nothing arrived within `wait` seconds. After a TransientError: close, wait, reopen.

        Unfinished, after `wait` seconds: reading can't begin yet (a lock, a limit). It says why; call `read` again.
        """

    def confirm(self, position: Position) -> None:
        """Everything up to `position` is durably on the bus: the source may discard it."""

    def resnapshot(self, data_types: Sequence[str]) -> None:
        """Publish every record of these data types again, in the batches to come."""

    def lag(self) -> int | None:
        """Bytes (or records) that the source retains for Sorbus; None if unknown. May be called before `open`."""

    def close(self) -> None: ...


class Delivery(NamedTuple):
    """One change event on its way to a target: the newest of its record in this batch.

    `data` is the whole frame; the canonical record begins in it at `at`, encoded as `schema` says. A delete has no
    record, and no frame either where compaction left its tombstone alone. `historical`: it repeats a known state
    (initial snapshot, resnapshot, replay) and reports no change. `reread`: a person asked for the record, so what the
    target has is compared, whatever was delivered last.
    """

    id: bytes
    version: int
    deleted: bool
    schema: RecordSchema
    data: bytes
    at: int
    historical: bool = False
    reread: bool = False


class RejectedDelivery(NamedTuple):
    """A delivery that the target rejects, by its index in the batch, and why."""

    place: int
    error: PermanentError


class Consumer(Protocol):
    """Delivers one flow to one system."""

    def open(self) -> None:
        """Connects. TransientError, AuthError, MapError."""

    def apply(
        self, deliveries: Sequence[Delivery], *, again: bool = False, alone: bool = False
    ) -> list[RejectedDelivery]:
        """Brings the target up to date and returns the rejected deliveries; all others are applied, or none.

        An older or equal version changes nothing; with `again` (a replay) an equal version is written once more.
        `alone`: another process may be delivering the same records at this moment (a replay, a requeue).
        TransientError: nothing was applied, or only a part that is safe to apply twice; try again later.
        Unfinished: a part was applied and the rest needs time; call again with the same deliveries.
        """

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Step:
    """One difference between the map and what exists. `apply` None: a person has to make the change."""

    where: str
    what: str
    detail: str = ""
    apply: Callable[[], None] | None = None
    at_start: bool = False
    """The system's producer, or the flow, makes the change when it starts; `apply` does nothing."""


class ProducerConnector(Protocol):
    """A kind of system that can be a system of record."""

    Connection: type[BaseModel]
    Source: type[BaseModel]

    def __call__(self, system: BoundSystem, sources: Sequence[BoundSource]) -> Producer: ...
    def plan(self, system: BoundSystem, sources: Sequence[BoundSource]) -> list[Step]:
        """What `sorbus apply` has to create; empty once it exists. MapError, TransientError, AuthError."""

    def resources_of(self, options: BaseModel) -> dict[str, str]:
        """Which resource stores which part: "" for the record itself, a list field's name for its items."""


class ConsumerConnector(Protocol):
    """A kind of system that can be a target.

    One whose consumers work side by side in threads of one process may say so: `shares_process = True`. `sorbus up`
    then runs several flows in a process; without it each has its own.
    """

    Connection: type[BaseModel]
    Target: type[BaseModel]

    def __call__(self, flow: BoundFlow) -> Consumer: ...
    def plan(self, flow: BoundFlow) -> list[Step]:
        """Like a producer connector's."""

    def resources_of(self, options: BaseModel) -> dict[str, str]:
        """Like a producer connector's."""


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
