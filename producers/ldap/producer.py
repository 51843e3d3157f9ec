"""The producer of a directory."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from pydantic import BaseModel

from sorbus.abilities import Resource
from sorbus.connector import BoundSource, BoundSystem, Change, Position, RejectedRecord, Step
from sorbus.diagnosis import Diagnosis
from sorbus.http_api.interface import Api
from sorbus.ldap.connection import LdapConnection
from sorbus.ldap.directory_of import account_of, connection_of, directory_of
from sorbus.ldap.discovery import diagnose_directory, discover_entries, sample_entries
from sorbus.ldap.entry_api import EntryApi
from sorbus.ldap.entry_set import EntrySet
from sorbus.ldap.session import Directory
from sorbus.producers.http.api_producer import ApiProducer
from sorbus.producers.http.scan import scan_api
from sorbus.producers.http.shape import application_shape
from sorbus.producers.http.stream_poller import StreamPoller
from sorbus.producers.ldap.content_sync import ContentSync, Heard, ListWanted, Named
from sorbus.producers.ldap.entries import chosen_by, entries_of, options_of, require_attributes, resource_of
from sorbus.producers.ldap.options import LdapSource

_COOKIES = "sorbus.sync"


@dataclass(slots=True)
class _Heard:
    """A data type's search, and how far what it said has been looked at.

    `cookie` counts once all before it has been looked at. `deletes`: how many were named since they were last too many.
    """

    sync: ContentSync
    cookie: str | None
    latest: str | None = None
    deletes: int = 0


class LdapProducer(ApiProducer):
    """Captures one directory: polled by modify time, and told of changes at once where the server can."""

    Connection: type[BaseModel] = LdapConnection
    Source: type[BaseModel] = LdapSource

    def __init__(self, system: BoundSystem, sources: Sequence[BoundSource]) -> None:
        """MapError where a mapping doesn't fit. Reaches nothing."""
        self._sources = list(sources)
        self._entries = {source.name: entries_of(system, source) for source in sources}
        self._directory: Directory | None = None
        self._heard: dict[str, _Heard] = {}
        tracks = [_poller(system, source, self._entries[source.name]) for source in sources]
        super().__init__(system, tracks, account_of(system))

    @classmethod
    def plan(cls, system: BoundSystem, sources: Sequence[BoundSource]) -> list[Step]:
        """Nothing to create. MapError for what the directory's schema hasn't got."""
        with closing(directory_of(system)) as directory:
            for source in sources:
                entries_of(system, source)
                require_attributes(system, source, directory.schema)
        return []

    @classmethod
    def resources_of(cls, options: BaseModel) -> dict[str, str]:
        """The object class."""
        assert isinstance(options, LdapSource)
        return {"": options.resource}

    @classmethod
    def discover(cls, system: BoundSystem) -> list[Resource]:
        """The object classes that have entries."""
        return discover_entries(system)

    @classmethod
    def sample(cls, system: BoundSystem, resource: str, limit: int) -> list[dict[str, object]]:
        """A few entries."""
        return sample_entries(system, resource, limit)

    @classmethod
    def diagnose(cls, system: BoundSystem) -> Iterator[Diagnosis]:
        """Whether it can be reached and read, and what it can do."""
        return diagnose_directory(system)

    @classmethod
    def location(cls, system: BoundSystem, *, ask: bool = False) -> str | None:  # noqa: ARG003 - the interface's
        """Server and base."""
        options = connection_of(system)
        return f"{options.host}:{options.port}/{options.base}".lower()

    @classmethod
    def scan(cls, system: BoundSystem, source: BoundSource) -> Iterator[Sequence[Change | RejectedRecord]]:
        """Every entry as it would be published."""
        entries = entries_of(system, source)
        with closing(directory_of(system)) as directory, closing(EntryApi(directory, entries)) as api:
            polled = replace(source, options=options_of(source).polled())
            yield from scan_api(api, system, polled, resource_of(system, source, entries))

    @classmethod
    def ids(cls, system: BoundSystem, source: BoundSource) -> Iterable[bytes]:
        """The key of every entry."""
        return (one.id for batch in cls.scan(system, source) for one in batch if isinstance(one, Change))

    @classmethod
    def read_record(cls, system: BoundSystem, source: BoundSource, id: str) -> bytes | None:
        """One entry."""
        entries = entries_of(system, source)
        polled = replace(source, options=options_of(source).polled())
        with closing(directory_of(system)) as directory:
            found = EntryApi(directory, entries).get(entries.name, id)
        if found is None:
            return None
        return application_shape(polled, system.name, resource_of(system, source, entries)).encode(found.record)

    def _connect(self, position: Position) -> Mapping[str, Api]:
        self._directory = directory = directory_of(self._system)
        apis = {name: EntryApi(directory, entries) for name, entries in self._entries.items()}
        cookies = position.get(_COOKIES)
        known = cookies if isinstance(cookies, dict) else {}
        for source in self._sources:
            require_attributes(self._system, source, directory.schema)
        for source in self._sources:
            entries = self._entries[source.name]
            if options_of(source).changes == "auto" and entries.identity.lower() == "entryuuid":
                cookie = known.get(source.name)
                cookie = cookie if isinstance(cookie, str) and source.name in position else None
                started = ContentSync(
                    directory, entries, None if cookie is None else b64decode(cookie), self._asker.wake
                )
                self._heard[source.name] = _Heard(started, cookie)
        return apis

    def _disconnect(self) -> None:
        for one in self._heard.values():
            one.sync.close()
        self._heard = {}
        for api in self._apis.values():
            assert isinstance(api, EntryApi)
            api.close()
        if self._directory is not None:
            self._directory.close()

    def _attend(self) -> None:
        for track in self._tracks:
            if (heard := self._heard.get(track.name)) is not None:
                self._take(track, heard)

    def _take(self, track: StreamPoller, heard: _Heard) -> None:
        events = heard.sync.take()
        deletes = sum(isinstance(event, Named) and event.is_deleted for event in events)
        if track.is_too_many(heard.deletes) and not (track.owes_list or track.holds_deletes):
            heard.deletes = 0
        heard.deletes += deletes
        # An entry that we may no longer see is named, and looks, just like one that is gone.
        is_doubtful = deletes > 0 and track.is_too_many(heard.deletes)
        if is_doubtful:
            track.list_anew()
        for event in events:
            match event:
                case Named() if not (event.is_deleted and is_doubtful):
                    self._look_at(track, event)
                case ListWanted():
                    track.list_anew()
                case Heard():
                    heard.latest = b64encode(event.cookie).decode()
        if heard.latest is not None and not (track.owes_list or track.is_told or track.is_busy):
            heard.cookie = heard.latest

    def _look_at(self, track: StreamPoller, named: Named) -> None:
        entries = self._entries[track.name]
        if entries.key == entries.identity:
            track.hear(named.id, deleted=named.is_deleted)
            return
        api = self._apis[track.name]
        assert isinstance(api, EntryApi)
        if (key := api.key_of.get(named.id)) is not None:
            track.hear(key, deleted=named.is_deleted)
        elif named.is_deleted:
            track.list_anew()
        if not named.is_deleted:
            track.poll_now()

    def _more_position(self) -> Position:
        cookies = {name: one.cookie for name, one in self._heard.items() if one.cookie is not None}
        return {_COOKIES: dict(cookies)} if cookies else {}


def _poller(system: BoundSystem, source: BoundSource, entries: EntrySet) -> StreamPoller:
    polled = replace(source, options=options_of(source).polled())
    return StreamPoller(polled, system.name, resource_of(system, source, entries), chosen_by=chosen_by(entries))
