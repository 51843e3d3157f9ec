"""Messages as bytes: JSON as JsonConverter reads it, with or without schemas, and Avro as AvroConverter reads it."""

from __future__ import annotations

import base64
import io
import json
from typing import Protocol

import fastavro
from pydantic import JsonValue

from sorbus.bus.registry import Registry
from sorbus.consumers.kafka.connect_types import Wire
from sorbus.consumers.kafka.record_messages import RecordMessages, Struct, StructSchema
from sorbus.event import confluent_prefix


class Encoding(Protocol):
    """From a struct to bytes; ValueError where that can't be."""

    def key(self, struct: Struct) -> bytes: ...
    def value(self, struct: Struct) -> bytes: ...


class JsonEncoding:
    """JSON; `with_schema`: {schema, payload} as JsonConverter with schemas.enable writes it."""

    def __init__(self, messages: RecordMessages, *, with_schema: bool) -> None:
        self._heads = [_head(messages.key_schema), _head(messages.value_schema)] if with_schema else [b"", b""]

    def key(self, struct: Struct) -> bytes:
        return self._encode(self._heads[0], struct)

    def value(self, struct: Struct) -> bytes:
        return self._encode(self._heads[1], struct)

    def _encode(self, head: bytes, struct: Struct) -> bytes:
        payload = json.dumps(_json(struct), ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
        return head + payload + b"}" if head else payload


class AvroEncoding:
    """Avro in the Confluent wire format; its schemas are registered under TOPIC-key and TOPIC-value."""

    def __init__(self, messages: RecordMessages, registry: Registry, topic: str) -> None:
        """AuthError, TransientError, SchemaError where the registry refuses the schema."""
        schemas = [messages.key_schema.avro_schema(), messages.value_schema.avro_schema()]
        ids = [
            registry.register(f"{topic}-{part}", json.dumps(schema))
            for part, schema in zip(("key", "value"), schemas, strict=True)
        ]
        self._prefixes = [confluent_prefix(id) for id in ids]
        self._schemas = [fastavro.parse_schema(schema) for schema in schemas]

    def key(self, struct: Struct) -> bytes:
        return self._encode(0, struct)

    def value(self, struct: Struct) -> bytes:
        return self._encode(1, struct)

    def _encode(self, place: int, struct: Struct) -> bytes:
        out = io.BytesIO()
        out.write(self._prefixes[place])
        fastavro.schemaless_writer(out, self._schemas[place], struct)
        return out.getvalue()


def _head(schema: StructSchema) -> bytes:
    return b'{"schema":' + json.dumps(schema.json_schema(), separators=(",", ":")).encode() + b',"payload":'


def _json(value: Wire | Struct) -> JsonValue:
    if isinstance(value, dict):
        return {name: _json(inner) for name, inner in value.items()}
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value
