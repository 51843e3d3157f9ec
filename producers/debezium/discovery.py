"""Which topics of a cluster Debezium writes, and what their rows have, for `sorbus discover`."""

from __future__ import annotations

import time
from typing import Any

from sorbus.abilities import CatalogField, Resource
from sorbus.bus.kafka import kafka_errors, topic_reader
from sorbus.bus.registry import open_registry
from sorbus.errors import PermanentError
from sorbus.producers.debezium.change_event import RowChange, event_of
from sorbus.producers.debezium.connect_values import Schema
from sorbus.producers.debezium.formats import Content, Formats
from sorbus.producers.debezium.options import DebeziumSource
from sorbus.producers.debezium.topic_reader import ClusterTopics, TopicReader
from sorbus.schema import Kind
from sorbus.settings import Settings

_LAST = 5
_MOST_TOPICS, _LONGEST = 300, 60.0
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
    registry = open_registry(settings)
    formats = Formats(registry.schema if registry is not None else None)
    until = time.monotonic() + _LONGEST
    looked_at = (_resource(settings, topic, formats) for topic in names[:_MOST_TOPICS] if time.monotonic() < until)
    return [resource for resource in looked_at if resource is not None]


def _resource(settings: Settings, topic: str, formats: Formats) -> Resource | None:
    facts = ClusterTopics(settings).facts([topic])[topic]
    if facts.is_empty:
        return None
    offsets = [max(begin, end - _LAST) for begin, end in zip(facts.begins, facts.ends, strict=True)]
    reader, until = TopicReader(settings, "discover", {topic: offsets}), time.monotonic() + 5.0
    options = DebeziumSource(topic=topic)
    try:
        while not reader.is_at_end and time.monotonic() < until:
            for _, message in reader.read(0.5):
                if message.value is None:
                    continue
                try:
                    content = formats.read(message.value)
                    event = event_of(content, options)
                    key = formats.read(message.key) if message.key is not None else None
                except PermanentError:
                    return None
                is_ours = isinstance(content.raw, dict) and {"op", "source"} <= content.raw.keys()
                if isinstance(event, RowChange) and event.row is not None and is_ours:
                    return Resource(topic, _fields(event.row, event.schema), _key(key))
    finally:
        reader.close()
    return None


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
