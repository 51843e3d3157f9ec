"""The producer of an application behind HTTP: polls its data types in turn, and looks at what webhooks name first."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence

from pydantic import BaseModel

from sorbus.abilities import Notice, PublishedState, Resource
from sorbus.avro.decode import read_record
from sorbus.connector import Batch, BoundSource, BoundSystem, Change, Position, RejectedRecord, Step
from sorbus.diagnosis import Diagnosis
from sorbus.drift.watch import DriftWatch
from sorbus.errors import Finding, LostPosition, MapError, PartialOutage, TransientError, Unfinished, UsageError
from sorbus.http_api.catalog import resources_of_description
from sorbus.http_api.connection import HttpConnection, application
from sorbus.http_api.description import ApiResource, Description
from sorbus.http_api.diagnose import diagnose_application
from sorbus.http_api.interface import Api, Record, Transport
from sorbus.http_api.records import open_api
from sorbus.http_api.transport import open_transport
from sorbus.producers.http.options import HttpSource
from sorbus.producers.http.request_pool import RequestPool
from sorbus.producers.http.rules import identity_of
from sorbus.producers.http.scan import scan_records
from sorbus.producers.http.shape import application_shape
from sorbus.producers.http.stream_poller import StreamPoller
from sorbus.producers.polling.poll_state import PageResult
from sorbus.settings import Settings
from sorbus.spelling import closest
from sorbus.state import State, plan_state

_APPLICATION = "sorbus.application"
_SHOW_LIFE = 0.5
"""Seconds of reading without a result after which the loop gets its turn: to commit, to hear, to be seen alive."""


class HttpProducer:
    """Captures one application. What it has published it is reminded of, so that only what differs is an event."""

    Connection: type[BaseModel] = HttpConnection
    Source: type[BaseModel] = HttpSource

    def __init__(self, system: BoundSystem, sources: Sequence[BoundSource]) -> None:
        """MapError where a data type's resource or mapping doesn't fit the description."""
        self._system = system
        self._application = application(system)
        self._identity = identity_of(self._application)
        resources = _resources(system, sources, self._application.description)
        self._tracks = [
            StreamPoller(source, system.name, resource) for source, resource in zip(sources, resources, strict=True)
        ]
        self._drift: DriftWatch | None = None
        self._transport: Transport | None = None
        self._api: Api | None = None
        self._stored: Position = {}
        self._asker = RequestPool()
        self._turn = 0

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
        return None if found is None else application_shape(source, system.name, resource).encode(found.record)

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

    def remember(self, data_type: str, published: Iterable[PublishedState]) -> None:
        """What is on the data type's topic."""
        for track in self._tracks:
            if track.name == data_type:
                track.remember(published)

    def take_over(self, floors: Mapping[str, int]) -> None:
        """These data types are listed anew, above these versions; what is gone is deleted as at any other time."""
        for track in self._tracks:
            if track.name in floors:
                track.take_over(floors[track.name])

    def open(self, position: Position | None) -> None:
        """Prepares to go on; the first request is the first `read`'s. LostPosition for another application."""
        position = self._same_application(position)
        self._drift = DriftWatch.of(self._system.name, self._system.topic_prefix)
        for track in self._tracks:
            track.restore(position.get(track.name))
            track.begin(self._drift)
        self._stored = position
        self._transport = open_transport(self._application, State.of(self._system.topic_prefix), each_waits=True)
        self._api = open_api(self._transport)

    def hear(self, notices: Sequence[Notice]) -> None:
        """The next `read` looks at these records."""
        for notice in notices:
            for track in self._tracks:
                if track.resource == notice.resource:
                    track.hear(notice.id, deleted=notice.deleted)

    def list_anew(self) -> None:
        """Lists every data type now."""
        for track in self._tracks:
            track.list_anew()

    def reread(self, data_type: str, ids: Sequence[bytes]) -> None:
        """Looks at these records next; where there are many, reads all."""
        for track in self._tracks:
            if track.name == data_type:
                track.reread(ids)

    def read(self, wait: float) -> Batch | None:
        """What a page or a look brought; None when nothing came within `wait` seconds.

        PartialOutage where a data type can't be read for now: the others go on. Unfinished while answers are awaited.
        """
        assert self._api is not None
        began = time.monotonic()
        while True:
            if (batch := self._stepped(self._api)) is not None:
                return batch
            now, is_busy = time.monotonic(), any(track.is_busy for track in self._tracks)
            left = began + (max(wait, _SHOW_LIFE) if is_busy else wait) - now
            if left <= 0:
                if is_busy:
                    raise Unfinished(f"{self._system.name} is being read", retry_after=0.0)
                return None
            soonest = min((track.due_at() for track in self._tracks if not track.is_busy), default=float("inf"))
            self._asker.wait(max(0.0, min(left, soonest - time.monotonic())))

    def _stepped(self, api: Api) -> Batch | None:
        """One turn of each data type, until one has found something."""
        for _ in self._tracks:
            track = self._tracks[self._turn % len(self._tracks)]
            while not track.is_busy or track.is_answered:
                if not track.is_busy and track.due_at() > time.monotonic():
                    break
                try:
                    found = track.step(api, self._asker)
                except TransientError as error:
                    outage = PartialOutage(str(error), retry_after=error.retry_after)
                    outage.dependency = error.dependency
                    raise outage from error
                batch = self._batch([found] if found else [], track.name)
                if batch is not None:
                    self._turn += 1
                    return batch
                if track.is_done:  # up to date with this one, whatever there still is to list
                    self._turn += 1
                    return None if self._is_idle() else Batch((), (), (), self._stored, True)
            self._turn += 1
        return None

    @property
    def owes(self) -> bool:
        """Whether records that `hear` or `reread` named are still to be looked at."""
        return any(track.is_told for track in self._tracks)

    @property
    def problem(self) -> str | None:
        """What can't be read just now, None for nothing."""
        return "; ".join(said for track in self._tracks if (said := track.problem)) or None

    def confirm(self, position: Position) -> None:
        """The application needs not to know."""

    def resnapshot(self, data_types: Sequence[str]) -> None:
        """Publishes every record of these data types again, with their next list."""
        for track in self._tracks:
            if track.name in data_types:
                track.resnapshot()

    def lag(self) -> int | None:
        """An application holds nothing back."""
        return None

    def close(self) -> None:
        """Ends its connections."""
        if self._drift is not None:
            self._drift.close()
        if self._transport is not None:
            self._transport.close()

    def _same_application(self, position: Position | None) -> Position:
        """The position, if it is one in this application: compared with another's, every record would be gone."""
        before = (position or {}).get(_APPLICATION)
        if before is None or before == self._identity:
            return dict(position or {})
        if self._system.system.on_lost_slot == "resnapshot":
            return {}
        name = self._system.name
        raise LostPosition(
            f"what is published of {name} came from another address or account ({before}), the map now says"
            f" {self._identity}: put that back, or, if it holds the same records and what it lacks is to be deleted,"
            f" write `on_lost_slot: resnapshot` under {name} in the map and start it once"
        )

    def _is_idle(self) -> bool:
        """Whether nothing is due, and no answer awaited."""
        now = time.monotonic()
        return not any(track.is_busy or track.due_at() <= now for track in self._tracks)

    def _batch(self, found: Sequence[PageResult], data_type: str) -> Batch | None:
        """What was found, with the position after it; None when neither is new."""
        position: Position = {_APPLICATION: self._identity}
        position |= {track.name: track.position() for track in self._tracks}
        changes = [change for one in found for change in one.changes]
        rejects = [reject for one in found for reject in one.rejects]
        copied = next(((data_type, *one.copied) for one in found if one.copied), None)
        if not changes and not rejects and copied is None and position == self._stored:
            return None
        self._stored = position
        return Batch(changes, rejects, (), position, self._is_idle(), copied)


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
