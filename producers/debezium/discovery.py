"""Which topics of a cluster Debezium writes, and what their rows have, for `sorbus discover`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from sorbus.abilities import CatalogField, Resource
from sorbus.bus.kafka import admin, kafka_errors, topic_reader
from sorbus.bus.registry import open_registry
from sorbus.bus.topic_facts import topic_facts, topic_ids
from sorbus.bus.topic_reader import TopicMessage, TopicReader
from sorbus.errors import PermanentError, TransientError
from sorbus.producers.debezium.change_event import RowChange, event_of, is_envelope
from sorbus.producers.debezium.connect_values import Schema
from sorbus.producers.debezium.formats import Content, Formats
from sorbus.producers.debezium.options import DebeziumSource
from sorbus.schema import Kind
from sorbus.settings import Settings

_LAST = 5
_LONGEST = 60.0
_KINDS: dict[str, Kind] = {
    "int8": "int", "int16": "int", "int32": "int", "int64": "long", "float": "float", "double": "double",
    "boolean": "boolean", "string": "string", "bytes": "bytes", "array": "array", "map": "map", "struct": "record",
}  # fmt: skip
_NAMED: dict[str, Kind] = {
    "Decimal": "decimal", "VariableScaleDecimal": "decimal", "Date": "date", "Timestamp": "timestamp",
    "MicroTimestamp": "timestamp", "NanoTimestamp": "timestamp", "ZonedTimestamp": "timestamp", "Time": "time",
    "MicroTime": "time", "NanoTime": "time", "Uuid": "uuid",
}  # fmt: skip


def discover_topics(settings: Settings) -> list[Resource]:
    """One resource for each topic whose last messages are changes of rows; within a minute. TransientError."""
    lister = topic_reader(settings, "discover")
    with kafka_errors("listing topics"):
        names = sorted(name for name in lister.list_topics(timeout=10).topics if not name.startswith("_"))
    lister.close()
    registry, client = open_registry(settings), admin(settings)
    formats = Formats(registry.schema if registry is not None else None)
    left = {
        topic: [max(begin, end - _LAST) for begin, end in zip(facts.begins, facts.ends, strict=True)]
        for topic, facts in topic_facts(client, names).items()
        if not facts.is_empty
    }
    found: dict[str, Resource | None] = {}
    until = time.monotonic() + _LONGEST
    while left:
        try:
            for topic, resource in _read(settings, left, formats, until):
                found[topic] = resource  # noqa: PERF403, what was read stays read when the rest fails
            break
        except TransientError:
            there = topic_ids(client, left)
            unread = {topic: offsets for topic, offsets in left.items() if topic in there and topic not in found}
            if len(unread) == len(left):
                raise
            left = unread
    return [resource for _, resource in sorted(found.items()) if resource is not None]


def _read(
    settings: Settings, offsets: dict[str, list[int]], formats: Formats, until: float
) -> Iterator[tuple[str, Resource | None]]:
    """Each topic that was read, and its rows if they are Debezium's. TransientError, also where a topic goes."""
    left, reader = set(offsets), TopicReader(settings, "discover", offsets)
    try:
        while left and not reader.is_at_end:
            if time.monotonic() > until:
                some = ", ".join(sorted(left)[:5])
                raise TransientError(f"{len(left)} topics were not read within {_LONGEST:.0f} s: {some}")
            for topic, message in reader.read(0.5):
                if topic in left and message.value is not None:
                    is_decided, resource = _look(topic, message, formats)
                    if is_decided:
                        left.remove(topic)
                        yield topic, resource
    finally:
        reader.close()


def _look(topic: str, message: TopicMessage, formats: Formats) -> tuple[bool, Resource | None]:
    """Whether the message says what its topic is, and its rows if they are Debezium's."""
    try:
        content = formats.read(message.value or b"")
        event = event_of(content, DebeziumSource(topic=topic))
        key = formats.read(message.key) if message.key is not None else None
    except PermanentError:
        return True, None
    if isinstance(event, RowChange) and event.row is not None and is_envelope(content):
        return True, Resource(topic, _fields(event.row, event.schema), _key(key))
    return False, None


def _fields(row: dict[str, Any], schema: Schema | None) -> tuple[CatalogField, ...]:
    fields = {str(one["field"]): one for one in (schema or {}).get("fields") or ()}
    return tuple(_field(name, fields.get(name, {})) for name in row)


def _field(name: str, schema: Schema) -> CatalogField:
    logical, kind = str(schema.get("name") or ""), str(schema.get("type") or "")
    native = logical.rpartition(".")[2] or kind or "json"
    found = _NAMED.get(native) or _KINDS.get(kind, "string")
    return CatalogField(name, found, native, not schema.get("optional", True))


def _key(key: Content | None) -> tuple[str, ...]:
    return tuple(key.raw) if key is not None and isinstance(key.raw, dict) else ()
