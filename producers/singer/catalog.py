"""A tap's catalog: which streams it has, and which of them it is to read; no I/O.

https://github.com/singer-io/getting-started/blob/master/docs/DISCOVERY_MODE.md
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from sorbus.abilities import Resource
from sorbus.errors import TransientError
from sorbus.http_api.interface import Json, Record
from sorbus.http_api.values import dump_json, load_json
from sorbus.producers.singer.json_schema import catalog_fields
from sorbus.producers.singer.options import SingerSource
from sorbus.spelling import closest


class WantedStream(NamedTuple):
    """What a data type needs of a stream. `fields`: names of the record's own fields."""

    options: SingerSource
    fields: frozenset[str]


class CatalogEntry(NamedTuple):
    """One stream of a catalog."""

    entry: Record

    @property
    def id(self) -> str:
        """What bookmarks call it."""
        return str(self.entry.get("tap_stream_id") or self.entry.get("stream"))

    @property
    def names(self) -> frozenset[str]:
        """What its messages may call it: SQL taps put the schema or database in front."""
        own = self.entry.get("stream_alias"), self.entry.get("stream"), self.id
        stream = self.entry.get("stream") or self.entry.get("table_name")
        of = (self.root.get(word) for word in ("schema-name", "database-name"))
        return frozenset([*(str(one) for one in own if one), *(f"{one}-{stream}" for one in of if one)])

    @property
    def root(self) -> Record:
        """The metadata about the stream itself."""
        return next((_dict(one.get("metadata")) for one in self._metadata() if not one.get("breadcrumb")), {})

    @property
    def schema(self) -> Record:
        return _dict(self.entry.get("schema"))

    @property
    def key(self) -> tuple[str, ...]:
        """The fields that identify a record, where the tap knows them."""
        given = (
            self.entry.get("key_properties") or self.root.get("table-key-properties")
            or self.root.get("view-key-properties")
        )  # fmt: skip
        return tuple(map(str, given)) if isinstance(given, list) else ()

    def replication(self, options: SingerSource) -> str:
        """How it will be read: as the tap insists, as the map says, or as the catalog has it; empty: not known."""
        forced = self.root.get("forced-replication-method")
        given = self.root.get("replication-method") or self.entry.get("replication_method")
        return str(forced or options.replication or given or "").upper()

    def _metadata(self) -> list[Record]:
        found = self.entry.get("metadata")
        return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


class TapCatalog:
    """Every stream that a tap has."""

    def __init__(self, document: Record) -> None:
        streams = document.get("streams")
        self.entries = (
            [CatalogEntry(one) for one in streams if isinstance(one, dict)] if isinstance(streams, list) else []
        )
        self._document = document

    @classmethod
    def parse(cls, data: bytes) -> TapCatalog:
        """What `--discover` wrote. TransientError."""
        try:
            found = load_json(data)
        except ValueError as error:
            raise TransientError(f"the tap's catalog is not JSON: {str(error)[:200]}") from error
        if not isinstance(found, dict) or not isinstance(found.get("streams"), list):
            raise TransientError("the tap's catalog has no list of streams")
        return cls(found)

    def resources(self) -> list[Resource]:
        """For `sorbus discover`."""
        return [Resource(one.id, catalog_fields(one.schema), one.key) for one in self.entries]

    def entry(self, stream: str) -> CatalogEntry:
        """The stream of this name. TransientError with what it has instead."""
        ids = [one for one in self.entries if one.id == stream]
        found = ids or [one for one in self.entries if stream in one.names]
        if len(found) != 1:
            known = {one.id for one in found or self.entries}
            what = f"has several streams {stream!r}" if found else f"has no stream {stream!r}"
            raise TransientError(f"the tap {what}: {closest(stream, known)}")
        return found[0]

    def selected(self, wanted: Mapping[str, WantedStream]) -> str:
        """The catalog with only these streams selected, by id, as JSON: old and new taps look at different marks."""
        return dump_json({**self._document, "streams": [_marked(one, wanted.get(one.id)) for one in self.entries]})


def _marked(entry: CatalogEntry, wanted: WantedStream | None) -> Record:
    schema = dict(entry.schema)
    metadata = [dict(one) for one in entry._metadata()]
    if not any(not one.get("breadcrumb") for one in metadata):
        metadata.append({"breadcrumb": [], "metadata": {}})
    made: Record = {**entry.entry, "schema": schema}
    schema["selected"] = made["selected"] = wanted is not None
    options = wanted.options if wanted else None
    fields = frozenset(wanted.fields | _always(entry, wanted.options)) if wanted else frozenset[str]()
    for one in metadata:
        marks = dict(_dict(one.get("metadata")))
        breadcrumb = one.get("breadcrumb")
        if not breadcrumb:
            marks["selected"] = wanted is not None
            if options is not None:
                marks |= _replication(entry, options)
                made |= {name.replace("-", "_"): value for name, value in _replication(entry, options).items()}
        elif wanted is not None and len(breadcrumb) >= 2:
            marks["selected"] = breadcrumb[1] in fields
        one["metadata"] = marks
    known = {one["breadcrumb"][1] for one in metadata if len(one.get("breadcrumb") or ()) == 2}
    properties = _dict(schema.get("properties"))
    metadata += [
        {"breadcrumb": ["properties", name], "metadata": {"selected": name in fields}}
        for name in properties
        if name not in known
    ]
    schema["properties"] = {
        name: {**value, "selected": name in fields} if isinstance(value, dict) else value
        for name, value in properties.items()
    }
    return {**made, "metadata": metadata}


def _always(entry: CatalogEntry, options: SingerSource) -> frozenset[str]:
    names = [*entry.key, *options.key, options.replication_key, str(entry.root.get("replication-key") or "")]
    return frozenset([*names, *_texts(entry.root.get("valid-replication-keys")), DELETED_AT])


def _replication(entry: CatalogEntry, options: SingerSource) -> Record:
    method = entry.replication(options)
    marks: Record = {"replication-method": method} if method else {}
    return marks | ({"replication-key": options.replication_key} if options.replication_key else {})


DELETED_AT = "_sdc_deleted_at"
"""The field with which taps that read a log say that a record was deleted."""


def without_bookmarks(state: str | None, names: Collection[str]) -> str | None:
    """A state with which the tap reads these streams from their beginning; None: no state at all.

    States that aren't laid out as usual are left out whole: reading too much is harmless.
    """
    found = None if state is None else load_json(state)
    if not isinstance(found, dict) or not isinstance(found.get("bookmarks", {}), dict):
        return None
    if "bookmarks" not in found and set(found) - {"currently_syncing"}:
        return None
    kept = {name: value for name, value in _dict(found.get("bookmarks")).items() if name not in names}
    return dump_json({"bookmarks": kept}) if kept else None


def has_bookmark(state: str | None, names: Iterable[str]) -> bool:
    """Whether the tap may begin one of these streams somewhere other than at its beginning."""
    found = None if state is None else load_json(state)
    if not found:
        return False
    if not isinstance(found, dict) or not isinstance(found.get("bookmarks"), dict):
        return True
    return any(found["bookmarks"].get(name) for name in names)


def _dict(given: Json) -> Record:
    return given if isinstance(given, dict) else {}


def _texts(given: Json) -> list[str]:
    return list(map(str, given)) if isinstance(given, list) else []
