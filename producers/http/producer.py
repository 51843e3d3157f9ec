"""The producer of an application behind HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from pydantic import BaseModel

from sorbus.abilities import Resource
from sorbus.avro.decode import read_record
from sorbus.connector import BoundSource, BoundSystem, Change, Position, RejectedRecord, Step
from sorbus.diagnosis import Diagnosis
from sorbus.errors import Finding, MapError, UsageError
from sorbus.http_api.catalog import resources_of_description
from sorbus.http_api.connection import HttpConnection, application, identity_of
from sorbus.http_api.description import ApiResource, Description
from sorbus.http_api.diagnose import diagnose_application
from sorbus.http_api.interface import Api, Record, Transport
from sorbus.http_api.records import open_api
from sorbus.http_api.transport import open_transport
from sorbus.producers.http.api_producer import ApiProducer
from sorbus.producers.http.options import HttpSource
from sorbus.producers.http.own_states import OwnStates
from sorbus.producers.http.scan import scan_records
from sorbus.producers.http.shape import application_shape
from sorbus.producers.http.stream_poller import StreamPoller
from sorbus.settings import Settings
from sorbus.spelling import closest
from sorbus.state import State, plan_state


class HttpProducer(ApiProducer):
    """Captures one application. What it has published it is reminded of, so that only what differs is an event."""

    tells_deliveries = True
    Connection: type[BaseModel] = HttpConnection
    Source: type[BaseModel] = HttpSource

    def __init__(self, system: BoundSystem, sources: Sequence[BoundSource]) -> None:
        """MapError where a data type's resource or mapping doesn't fit the description."""
        self._application = application(system)
        resources = _resources(system, sources, self._application.description)
        self._transport: Transport | None = None
        tracks = [
            StreamPoller(
                source,
                system.name,
                resource,
                own=OwnStates(source, system.name, State.of(system.topic_prefix)) if source.shows else None,
            )
            for source, resource in zip(sources, resources, strict=True)
        ]
        super().__init__(system, tracks, identity_of(self._application))

    @classmethod
    def plan(cls, system: BoundSystem, sources: Sequence[BoundSource]) -> list[Step]:
        """The state database, where rate limits and tokens are kept. MapError as in the constructor."""
        _resources(system, sources, application(system).description)
        return plan_state(Settings().database, system.topic_prefix)

    @classmethod
    def diagnose(cls, system: BoundSystem) -> Iterator[Diagnosis]:
        """How the application's server is, before any login."""
        return diagnose_application(system)

    @classmethod
    def describe(cls, system: BoundSystem) -> list[Resource]:
        """What the application's description says it holds. MapError."""
        return resources_of_description(application(system).description)

    @classmethod
    def discover(cls, system: BoundSystem) -> list[Resource]:
        """The same: an application isn't asked for what it could hold."""
        return cls.describe(system)

    @classmethod
    def canonical(cls, system: BoundSystem, source: BoundSource, record: Record) -> dict[str, object]:
        """One record as it would be published. PermanentError, MapError."""
        [resource] = _resources(system, [source], application(system).description)
        data = application_shape(source, system.name, resource).encode(record)
        return read_record(source.schema, data, 0)[0]

    @classmethod
    def record_reader(cls, system: BoundSystem, source: BoundSource) -> Callable[[Record], bytes]:
        """One record as it would be published. MapError."""
        [resource] = _resources(system, [source], application(system).description)
        return application_shape(source, system.name, resource).encode

    @classmethod
    def why_one_way(cls, system: BoundSystem, source: BoundSource) -> str | None:
        """What its description lacks to tell our writes from people's."""
        name = _resource_name(source)
        resource = application(system).description.resources.get(name)
        if resource is not None and resource.get is None:
            return f"the description of {name} has no `get:`, by which a record is read alone"
        if resource is not None and resource.update is None:
            return f"the description of {name} has no `update:`: nothing can be brought there"
        return None

    @classmethod
    def read_record(cls, system: BoundSystem, source: BoundSource, id: str) -> bytes | None:
        """One record by its own address: a single request within the rate limit."""
        [resource] = _resources(system, [source], application(system).description)
        if resource.get is None:
            raise UsageError(
                f"records of {_resource_name(source)} in {system.name} have no address of their own: describe `get:`"
                " in the API's description to have them read one at a time"
            )
        transport = open_transport(application(system), State.of(system.topic_prefix))
        try:
            found = open_api(transport).get(_resource_name(source), id)
        finally:
            transport.close()
        if found is None or found.other_id is not None:
            return None
        return application_shape(source, system.name, resource).encode(found.record)

    @classmethod
    def scan(cls, system: BoundSystem, source: BoundSource) -> Iterator[Sequence[Change | RejectedRecord]]:
        """Every record, by its list."""
        [resource] = _resources(system, [source], application(system).description)
        return scan_records(system, source, resource)

    @classmethod
    def resources_of(cls, options: BaseModel) -> dict[str, str]:
        """The record's resource, and the lists inside it."""
        assert isinstance(options, HttpSource)
        return options.resources

    def _connect(self, position: Position) -> Mapping[str, Api]:  # noqa: ARG002 - the interface's
        self._transport = open_transport(self._application, State.of(self._system.topic_prefix), each_waits=True)
        api = open_api(self._transport)
        return {track.name: api for track in self._tracks}

    def _disconnect(self) -> None:
        if self._transport is not None:
            self._transport.close()


def _resource_name(source: BoundSource) -> str:
    """The name in the description of the resource that holds a data type."""
    assert isinstance(source.options, HttpSource)
    return source.options.resource


def _resources(system: BoundSystem, sources: Sequence[BoundSource], description: Description) -> list[ApiResource]:
    """Each data type's resource; MapError for those that the application has not, or can't list."""
    found, wrong = [], []
    for source in sources:
        options = source.options
        assert isinstance(options, HttpSource)
        resource = description.resources.get(options.resource)
        if resource is None:
            message = f"{system.name} has no resource {options.resource!r}"
            fix = closest(options.resource, description.resources)
        elif resource.list is None and (resource.changes is None or not resource.updated):
            message = f"{options.resource} of {system.name} can't be listed, so it can't be polled"
            fix = "describe its `list:` in the API's description"
        else:
            found.append(resource)
            continue
        line = system.document.line("data_types", source.name, "source", "resource")
        wrong.append(Finding(system.document.file, line, f"{source.name}: {message}", fix, "unknown-resource"))
    if wrong:
        raise MapError(wrong)
    return found
