"""What was posted to a system in the last 30 days: the newest of each record, and which fields it has."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from decimal import Decimal

from sorbus.abilities import CatalogField, Resource
from sorbus.bus.inbox import MissingInbox
from sorbus.bus.names import Names
from sorbus.bus.record_inbox import PostedRecord, RecordInbox
from sorbus.connector import BoundSystem
from sorbus.http_api.interface import Json
from sorbus.http_api.values import load_json
from sorbus.producers.webhook.record_feed import RecordFeed
from sorbus.schema import Kind
from sorbus.settings import Settings

_LOOKED_AT = 1000
_MOST_FIELDS = 500
_DEEPEST = 3


def inbox_of_system(system: BoundSystem) -> RecordInbox:
    """The inbox from its beginning. TransientError; MissingInbox before `sorbus apply`."""
    return RecordInbox(Settings(), Names(system.topic_prefix), system.name, None)


def read_newest(
    system: BoundSystem, feed: RecordFeed, ids: Collection[str] | None = None, *, until: Mapping[int, int] | None = None
) -> dict[str, PostedRecord]:
    """By id, of one data type. `until`: partition -> up to which offset it is read; None: all. TransientError."""
    return feed.newest(
        posted
        for posted in _posts(system, until)
        if posted.data_type == feed.intake.name and (ids is None or posted.id in ids)
    )


def sample_records(system: BoundSystem, limit: int) -> list[dict[str, object]]:
    """The last records that were posted, by field. TransientError."""
    found = [_flat(load_json(posted.body)) for posted in _last(system) if posted.kind == "record"]
    return [dict(one) for one in found[-limit:]]


def discover_fields(system: BoundSystem) -> list[Resource]:
    """One resource: the fields of what was posted last, by path. TransientError."""
    kinds: dict[str, Kind] = {}
    empty, records = set[str](), 0
    for posted in _last(system):
        if posted.kind != "record":
            continue
        records += 1
        for path, value in _flat(load_json(posted.body)).items():
            kind = _kind(value)
            if kind is None:
                empty.add(path)
            elif kinds.setdefault(path, kind) != kind:
                kinds[path] = "string"
    fields = [
        CatalogField(path, kinds.get(path, "string"), kinds.get(path, "null"), required=False)
        for path in sorted({*kinds, *empty})[:_MOST_FIELDS]
    ]
    return [Resource("record", tuple(fields), (), records)] if fields else []


def _last(system: BoundSystem) -> list[PostedRecord]:
    return [*_posts(system, None)][-_LOOKED_AT:]


def _posts(system: BoundSystem, until: Mapping[int, int] | None) -> Iterator[PostedRecord]:
    try:
        inbox = inbox_of_system(system)
    except MissingInbox:
        return
    try:
        inbox.next = inbox.ends() if until is None else dict(until)
        for arrived in inbox.history():
            if arrived.record is not None:
                yield arrived.record
    finally:
        inbox.close()


def _flat(record: Json, prefix: str = "", depth: int = 1) -> Mapping[str, object]:
    if not isinstance(record, Mapping):
        return {}
    found: dict[str, object] = {}
    for name, value in record.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping) and depth < _DEEPEST:
            found |= _flat(value, f"{path}.", depth + 1)
        elif not isinstance(value, Mapping | list):
            found[path] = value
    return found


def _kind(value: object) -> Kind | None:
    match value:
        case None:
            return None
        case bool():
            return "boolean"
        case int():
            return "long"
        case Decimal():
            return "decimal"
        case _:
            return "string"
