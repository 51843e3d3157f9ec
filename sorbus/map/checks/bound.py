"""The parts of a map that can be built for a check: schemas, sources, flows, catalogs; the rest as findings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from sorbus.connector import BoundFlow, BoundSource
from sorbus.discovery import SupportsDescription
from sorbus.errors import Finding, MapError, SchemaError
from sorbus.map.catalog import Catalog, read_catalog
from sorbus.map.loaded import LoadedMap, Role
from sorbus.map.steps import step_of, step_resource
from sorbus.schema import RecordSchema

T = TypeVar("T")


@dataclass
class Bound:
    """A map's parts for its check; parts that could not be built are missing here and among the findings."""

    loaded: LoadedMap
    owners: dict[str, str] = field(default_factory=dict)
    """Data type -> its system of record, where there is exactly one and it is in the map."""
    schemas: dict[str, RecordSchema] = field(default_factory=dict)
    sources: dict[str, BoundSource] = field(default_factory=dict)
    flows: dict[int, BoundFlow] = field(default_factory=dict)
    """By index in the map's list; only those that run."""
    catalogs: dict[str, Catalog] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def find(self, path: tuple[str | int, ...], code: str, message: str, fix: str) -> None:
        """Adds a finding about a part of map.yaml."""
        self.findings.append(self.loaded.finding(path, code, message, fix))

    def attempt(self, make: Callable[[], T]) -> T | None:
        """The result of `make`; on a MapError its findings are added, and the result is None."""
        try:
            return make()
        except MapError as error:
            self.findings += error.findings
            return None

    def describe(self, name: str, role: Role) -> None:
        """Validates a system's connection, and asks its connector for a description."""
        loaded = self.loaded
        system = self.attempt(lambda: loaded.system(name, role))
        if system is None or name in self.catalogs:
            return
        if (step := step_of(loaded.map, name)) is not None:
            if (schema := self.schemas.get(step.source)) is not None:
                read = step_resource(step, schema, loaded.map.lookups)
                self.catalogs[name] = Catalog(None, {resource.name: resource for resource in read})
            return
        connector: object = loaded.producer(name) if role == "producer" else loaded.consumer(name)
        if isinstance(connector, SupportsDescription):
            found = self.attempt(lambda: connector.describe(system))
            if found is not None:
                self.catalogs[name] = Catalog(None, {resource.name: resource for resource in found})


def bind(loaded: LoadedMap) -> Bound:
    """Builds every part of the map that can be built."""
    bound = Bound(loaded)
    written = loaded.map
    for name in written.systems:
        catalog = bound.attempt(lambda name=name: read_catalog(loaded.folder, name))  # type: ignore[misc]
        if catalog is not None:
            bound.catalogs[name] = catalog
    for name, data_type in written.data_types.items():
        try:
            bound.schemas[name] = loaded.schema(name)
        except SchemaError as error:
            path = ("data_types", name, "schema") if data_type.schema_name else ("data_types", name)
            bound.find(path, "bad-schema", str(error), "fix the schema, or name another with `schema:`")
        if isinstance(data_type.system_of_record, str) and data_type.system_of_record in written.systems:
            bound.owners[name] = data_type.system_of_record
    running = [
        (place, flow)
        for place, flow in enumerate(written.flows)
        if flow.runs and flow.data_type in written.data_types and flow.to in written.systems
    ]
    by_hand = {flow.data_type for flow in written.flows} - {flow.data_type for _, flow in running}
    by_hand -= {step.source for step in written.steps}
    for name, owner in bound.owners.items():
        # An owner with only manual flows needs no connector: the map just names the owner.
        if name in bound.schemas and name not in by_hand:
            bound.describe(owner, "producer")
            if source := bound.attempt(lambda name=name: loaded.source(name)):  # type: ignore[misc]
                bound.sources[name] = source
    for place, flow in running:
        if flow.data_type in bound.schemas:
            found = bound.attempt(lambda place=place: loaded.flow_at(place))  # type: ignore[misc]
            if found is not None:
                bound.flows[place] = found
                bound.describe(flow.to, "consumer")
    return bound
