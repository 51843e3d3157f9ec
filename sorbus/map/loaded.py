"""A loaded map, and the parts of it that producers and consumers are built from.

Connectors' settings and secrets are filled in when a system, source or flow is requested.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

from pydantic import BaseModel, JsonValue, ValidationError

import sorbus
from sorbus.connector import (
    BoundFlow,
    BoundSource,
    BoundSystem,
    ConsumerConnector,
    ProducerConnector,
    consumer_connector,
    known_kinds,
    producer_connector,
)
from sorbus.errors import Finding, MapError, SchemaError, UsageError
from sorbus.map.files_digest import digest_of_fixed, digest_of_named
from sorbus.map.resources import target_resources
from sorbus.map.secrets import Secrets, UnknownSecret, references
from sorbus.map.steps import step_of
from sorbus.mapfile.document import Document
from sorbus.mapfile.model import FieldMapping, Flow, Map, System
from sorbus.mapfile.validation_messages import explain
from sorbus.mapping.field_refs import CANONICAL, canonical_data_type
from sorbus.schema import RecordSchema, read_schema
from sorbus.spelling import closest
from sorbus.timing.delivery import DeliveryTimes
from sorbus.two_way.expand import TwoWay, expanded, renamed_rows, two_way_types

Role = Literal["producer", "consumer"]
Model = TypeVar("Model", bound=BaseModel)
PACKAGED_SCHEMAS = Path(sorbus.__file__).parent / "schemas"
_GROUPS: Mapping[Role, str] = {"producer": "sorbus.producers", "consumer": "sorbus.consumers"}


class Route(NamedTuple):
    """A direct row, its canonical field ("" for a constant), the reason, and the rows derived from it."""

    row: FieldMapping
    canonical: str
    why: str
    made: tuple[FieldMapping, ...]

    def __str__(self) -> str:
        row = self.row
        source = f"{row.source_system}.{row.source_field}" if row.source_field else f"{row.source_system} ({row.rule})"
        way = f"goes through {self.canonical}" if self.canonical else "is a constant"
        return f"{row.file}:{row.line}: {source} -> {row.target_system}.{row.target_field} {way} ({self.why})"


@dataclass(frozen=True)
class LoadedMap:
    """A map that could be read, and its file."""

    map: Map
    file: Path
    document: Document = field(repr=False)
    mappings: tuple[FieldMapping, ...] = ()
    """The sheets' rows in canonical form: one side of each is canonical."""
    secrets: Secrets = field(default_factory=lambda: Secrets(Path()), repr=False, compare=False)
    written: tuple[FieldMapping, ...] = ()
    """The sheets' rows as written, some from system to system."""
    routes: tuple[Route, ...] = ()
    unrouted: tuple[Finding, ...] = ()
    notices: tuple[str, ...] = ()
    """Keys and values of earlier releases in the map."""
    two_way: Mapping[str, TwoWay] = field(default_factory=dict, repr=False, compare=False)
    """The data types that several systems change; `map` has their parts (see `sorbus.two_way.expand`)."""
    without_parts: LoadedMap | None = field(default=None, repr=False, compare=False)
    digest: str = field(default="", repr=False, compare=False)
    """Of the map's files as they were when it was read (`sorbus.map.files_digest`)."""

    @property
    def as_written(self) -> LoadedMap:
        """The map as people wrote it, without the parts of two-way data types: for what is shown to them."""
        return self.without_parts or self

    def with_two_way(self) -> LoadedMap:
        """The same map with the parts of its two-way data types."""
        found = two_way_types(self.map, self.mappings)
        if not found:
            return self
        schemas = {}
        for name in found:
            with suppress(SchemaError):  # which `map check` reports
                schemas[name] = self.schema(name)
        rows = renamed_rows(self.mappings, found)
        made = expanded(self.map, found, schemas)
        return replace(self, map=made, mappings=rows, two_way=found, without_parts=self)

    def for_check(self) -> LoadedMap:
        """The same map without required secrets; a MapError without findings then means that a value is unknown."""
        return replace(self, secrets=self.secrets.unset())

    @property
    def folder(self) -> Path:
        return self.file.parent

    def has_changed(self) -> bool:
        """Whether a file of the map has changed since it was read. OSError if map.yaml can't be read."""
        self.file.stat()
        return self.digest != digest_of_fixed(self.file) + digest_of_named(self.folder, self.map)

    def line(self, *path: str | int) -> int:
        """The line of a part of map.yaml, such as ("flows", 0, "timing")."""
        return self.document.line(*path)

    def finding(self, path: tuple[str | int, ...], code: str, message: str, fix: str) -> Finding:
        """A finding about a part of map.yaml."""
        return Finding(self.file, self.line(*path), message, fix, code)

    def schema(self, data_type: str) -> RecordSchema:
        """A data type's schema: schemas/NAME.avsc beside the map, else Sorbus's own; SchemaError if there is none."""
        for two_way in self.two_way.values():
            for system in two_way.systems:
                if two_way.proposals(system) == data_type:
                    return two_way.schema_of(system, self.schema(two_way.data_type))
        name = self.map.data_types[data_type].schema_name or data_type
        own = self.folder / "schemas"
        if Path(name).name == name:
            for folder in (own, PACKAGED_SCHEMAS):
                if (file := folder / f"{name}.avsc").is_file():
                    return _read_schema(file, file.stat().st_mtime_ns)
        known = [file.stem for folder in (own, PACKAGED_SCHEMAS) if folder.is_dir() for file in folder.glob("*.avsc")]
        raise SchemaError(f"no schema is called {name!r} ({closest(name, known)}); write it as {own / f'{name}.avsc'}")

    def producer(self, system: str) -> ProducerConnector:
        """The connector that captures from a system; MapError if its kind has none."""
        return producer_connector(self._kind(system, "producer"))

    def consumer(self, system: str) -> ConsumerConnector:
        """The connector that delivers to a system; MapError if its kind has none."""
        return consumer_connector(self._kind(system, "consumer"))

    def system(self, name: str, role: Role | None = None) -> BoundSystem:
        """A system with its connection; `role` where its kind connects differently as source and as target."""
        kind = self._system(name).kind
        if role is None:
            is_target = any(flow.to == name and flow.runs for flow in self.map.flows) and not self.map.owned_by(name)
            roles: list[Role] = ["consumer", "producer"] if is_target else ["producer", "consumer"]
            role = next((each for each in roles if kind in known_kinds(_GROUPS[each])), "producer")
        model = self.producer(name).Connection if role == "producer" else self.consumer(name).Connection
        system = self._system(name)
        connection = self._options(model, system.connection, ("systems", name, "connection"))
        return BoundSystem(name, system, connection, self.map.topic_prefix, self.folder, self.document)

    def sources(self, system: str) -> list[BoundSource]:
        """The data types that `system` owns, each as its producer needs it."""
        return [self.source(name) for name in self.map.owned_by(system)]

    def source(self, data_type: str) -> BoundSource:
        """A data type as its owner's producer needs it."""
        written = self.map.data_types[data_type]
        owner = self.map.owner_of(data_type)
        options = self._options(self.producer(owner).Source, written.source, ("data_types", data_type, "source"))
        rows = self.source_rows(owner, data_type)
        step = step_of(self.map, owner)
        reads = self._schema(step.source) if step is not None and step.source in self.map.data_types else None
        shows = next((one for one in self.two_way.values() if data_type in map(one.proposals, one.systems)), None)
        made = BoundSource(data_type, written, self._schema(data_type), rows, options, self.map.lookups, reads)
        if shows is None:
            return made
        return replace(made, shows=shows.data_type, names_records=owner == shows.system_of_record)

    def flow(self, name: str) -> BoundFlow:
        """A flow as its consumer needs it."""
        place = next((place for place, flow in enumerate(self.map.flows) if flow.id == name), None)
        if place is None:
            fix = closest(name, [flow.id for flow in self.map.flows])
            raise UsageError(f"no flow is called {name!r}: {fix}")
        return self.flow_at(place)

    def flow_at(self, place: int) -> BoundFlow:
        """The flow at a place in the map's list of flows."""
        flow = self.map.flows[place]
        options = self._options(self.consumer(flow.to).Target, flow.target, ("flows", place, "target"))
        schema, two_way, shown = self._schema(flow.data_type), self.two_way.get(flow.data_type), None
        if two_way is not None and flow.to in two_way.systems:
            schema = two_way.written_schema(flow.to, schema)
            shown = self.source(two_way.proposals(flow.to))
        return BoundFlow(
            flow,
            self.map.data_types[flow.data_type],
            schema,
            self.target_rows(flow.to, flow.data_type),
            options,
            self.system(flow.to, "consumer"),
            self.map.lookups,
            self._keeper(flow.data_type),
            self.resources_in(flow.to),
            self._times(flow),
            shown,
            self._places,
        )

    @cached_property
    def _places(self) -> frozenset[tuple[str, str, str]]:
        """Where flows bring data types, as `BoundFlow.places` says."""
        flows = self.map.flows
        return frozenset(
            (flow.to, flow.data_type, target_resources(self.map, flow).get("", "") if flow.runs else "")
            for flow in flows
        )

    def _times(self, flow: Flow) -> DeliveryTimes | None:
        """None if they can't be read, which is a finding of `map check`."""
        try:
            return self.map.times(flow)
        except ValueError:
            return None

    def resources_in(self, system: str) -> dict[str, tuple[str, ...]]:
        """Each data type that flows bring to a system -> the resources that take it. What is unsound is left out."""
        found: dict[str, dict[str, None]] = {}
        for flow in self.map.flows:
            if flow.to == system and flow.runs and (resource := target_resources(self.map, flow).get("")) is not None:
                found.setdefault(flow.data_type, {})[resource] = None
        return {data_type: tuple(names) for data_type, names in found.items()}

    def _keeper(self, data_type: str) -> str:
        """Who looks after a data type's records at their owner; the system's name if none is named."""
        owner = self.map.data_types[data_type].system_of_record
        system = self.map.systems.get(owner) if isinstance(owner, str) else None
        return (system.owner if system is not None else None) or (owner if isinstance(owner, str) else "") or ""

    def source_rows(self, system: str, data_type: str) -> tuple[FieldMapping, ...]:
        """The rows that make `data_type` of what `system` holds."""
        return tuple(
            row
            for row in self.mappings
            if (row.source_system, row.target_system) == (system, CANONICAL)
            and canonical_data_type(row.target_field) == data_type
        )

    def target_rows(self, system: str, data_type: str) -> tuple[FieldMapping, ...]:
        """The rows that bring `data_type` to `system`; those without a source field may be of any data type."""
        return tuple(
            row
            for row in self.mappings
            if (row.source_system, row.target_system) == (CANONICAL, system)
            and canonical_data_type(row.source_field) in (data_type, "")
        )

    def _system(self, name: str) -> System:
        if (found := self.map.systems.get(name)) is not None:
            return found
        fix = closest(name, self.map.systems)
        raise UsageError(f"no system is called {name!r}: {fix}")

    def _kind(self, system: str, role: Role) -> str:
        kind = self._system(system).kind
        known = known_kinds(_GROUPS[role])
        if kind in known:
            return kind
        can = "be a system of record" if role == "producer" else "be a target"
        elsewhere = any(kind in known_kinds(group) for group in _GROUPS.values())
        what = f"lets systems of kind {kind!r} {can}" if elsewhere else f"is for systems of kind {kind!r}"
        message = f"{system}: no connector {what}"
        raise MapError([self.finding(("systems", system, "kind"), "unknown-kind", message, closest(kind, known))])

    def _schema(self, data_type: str) -> RecordSchema:
        try:
            return self.schema(data_type)
        except SchemaError as error:
            fix = "fix the schema, or the data type's `schema:`"
            raise MapError([self.finding(("data_types", data_type), "bad-schema", str(error), fix)]) from error

    def _options(self, model: type[Model], options: Mapping[str, JsonValue], path: tuple[str | int, ...]) -> Model:
        """A connector's own settings, secrets filled in; MapError in words that show none of them."""
        try:
            filled = self.secrets.fill_all(dict(options))
        except UnknownSecret as error:
            message = f"{'.'.join(str(step) for step in path)}: {error.message}"
            raise MapError([self.finding((*path, *error.path), "unknown-secret", message, error.fix)]) from error
        try:
            return model.model_validate(filled)
        except ValidationError as error:
            raise MapError(
                [
                    self.finding((*path, *found.path), found.code, found.message, found.fix)
                    for found in explain(error, filled, model, path)
                    if not (self.secrets.need_not_be_set and _is_unset(filled, found.path))
                ]
            ) from None  # pydantic's own error shows the values


def _is_unset(value: JsonValue, path: tuple[str | int, ...]) -> bool:
    """Whether what stands at `path` still waits for a secret, so that nothing can be said of it."""
    for step in path:
        value = value[step]  # type: ignore[index]
    return any(True for _ in references(value))


@cache
def _read_schema(file: Path, changed: int) -> RecordSchema:  # noqa: ARG001 - a changed file is another entry
    return read_schema(file)
