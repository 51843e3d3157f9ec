"""One record of an application, raw and canonical."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING

from sorbus.connector import BoundSource, BoundSystem
from sorbus.discovery import SupportsMapping
from sorbus.errors import MapError, PermanentError, SorbusError
from sorbus.http_api.connection import application
from sorbus.http_api.path import read_path
from sorbus.http_api.records import open_api
from sorbus.http_api.transport import open_transport
from sorbus.http_api.values import read_moment
from sorbus.spelling import closest
from sorbus.state import State, migrate

if TYPE_CHECKING:
    from sorbus.http_api.description import ApiResource
    from sorbus.http_api.interface import Api, Json, Page, Record
    from sorbus.map.loaded import LoadedMap


@dataclass(frozen=True, slots=True)
class Sample:
    """A record as it was read. `why_not` instead of `canonical` when it can't be made."""

    raw: Record
    data_type: str = ""
    canonical: dict[str, object] | None = None
    why_not: str = ""
    warnings: tuple[str, ...] = ()
    """What the page that it came from says of the description."""

    def shown(self) -> Json:
        """The canonical record as JSON, None when there is none."""
        return None if self.canonical is None else _plain(self.canonical)


def take(loaded: LoadedMap, system: str, resource: str, id: str = "") -> Sample:
    """Reads a record (the first of the list without an id). MapError, PermanentError, TransientError, AuthError."""
    bound = loaded.system(system)
    made = application(bound)
    if resource not in made.description.resources:
        message = f"{made.description.title} has no resource {resource!r}"
        fix = closest(resource, made.description.resources)
        raise MapError([bound.finding("api", "unknown-resource", message, fix)])
    state = State.of(bound.topic_prefix)
    migrate(state)  # limits and tokens are kept there; a first look comes before `sorbus apply`
    transport = open_transport(made, state)
    try:
        raw, warnings = _read(open_api(transport), made.description.resources[resource], resource, id)
    finally:
        transport.close()
    connector: object = loaded.producer(system)
    for name in loaded.map.owned_by(system):
        source = loaded.source(name)
        if getattr(source.options, "resource", None) == resource and isinstance(connector, SupportsMapping):
            return replace(_canonical(connector, bound, source, raw), warnings=warnings)
    why_not = f"no data type of the map has {system} as owner and {resource} as its source"
    return Sample(raw, why_not=why_not, warnings=warnings)


def _read(api: Api, about: ApiResource, resource: str, id: str) -> tuple[Record, tuple[str, ...]]:
    if id:
        found = api.get(resource, id)
        if found is None:
            raise PermanentError(f"{resource} has no record {id}; name another, or leave --id out", reason="gone")
        return found.record, ()
    after = None
    while True:
        page = api.page(resource, after=after)
        if page.records:
            return page.records[0], tuple(_warnings(about, page))
        if (after := page.after) is None:
            raise SorbusError(f"{resource} holds no records that these credentials may see")


def _warnings(about: ApiResource, page: Page) -> Iterator[str]:
    """What a page of a list shows that polls would suffer from."""
    records = page.records
    timeless = sum(all(read_path(one, path) in (None, "") for path in about.updated) for one in records)
    if about.updated and timeless:
        yield (
            f"{timeless} of {len(records)} listed records have no update time ({', '.join(about.updated)}), and a poll"
            " for changes may never show them: name more fields, such as `updated: [updated_at, created_at]`"
        )
    if wrong := [found for one in records for found in _unreadable(about, one)]:
        yield (
            f"{len(wrong)} of {len(records)} listed records have an update time ({', '.join(about.updated)}) that is"
            f" not {about.updated_format}: each becomes a dead letter. Write another `updated_format:`, or leave"
            " `updated:` and `changes:` out where none fits: then whole lists are compared"
        )
    if without := sum(read_path(one, about.id) in (None, "") for one in records):
        yield f"{without} of {len(records)} listed records have no id at {about.id}: each becomes a dead letter"
    if page.has_more:
        yield (
            f"after {len(records)} records the list says that there are more, but not where, so the others are never"
            " read: write its `pagination:` (or `pagination: {style: none}` if these are all)"
        )


def _unreadable(about: ApiResource, record: Record) -> Iterator[object]:
    """The first update time that the record has, where the description's format can't read it."""
    written = next((found for path in about.updated if (found := read_path(record, path)) not in (None, "")), None)
    try:
        read_moment(written, about.updated_format)
    except (ValueError, TypeError, ArithmeticError):
        yield written


def _canonical(connector: SupportsMapping, system: BoundSystem, source: BoundSource, raw: Record) -> Sample:
    try:
        return Sample(raw, source.name, connector.canonical(system, source, raw))
    except PermanentError as error:
        return Sample(raw, source.name, why_not=str(error))


def _plain(value: object) -> Json:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return value if isinstance(value, str | int | float | bool | Decimal | None) else str(value)
