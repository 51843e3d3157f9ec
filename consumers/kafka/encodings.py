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
from sorbus.errors import SchemaError
from sorbus.event import confluent_prefix
from sorbus.schema import AvroType

_PARTS = ("key", "value")


class Encoding(Protocol):
    """From structs to bytes, and back as far as a comparison needs it."""

    def key(self, struct: Struct) -> bytes: ...
    def value(self, struct: Struct) -> bytes: ...

    def row(self, value: bytes) -> bytes | None:
        """A message's fields, the same bytes for the same fields; None for a delete, or another form."""

    def is_delete(self, value: bytes) -> bool:
        """Whether the message, which has no row, says that the record was deleted."""

    def id(self, key: bytes) -> str | None:
        """The record's id; None for a key in another form."""


class JsonEncoding:
    """JSON; `with_schema`: {schema, payload} as JsonConverter with schemas.enable writes it."""

    def __init__(self, messages: RecordMessages, *, with_schema: bool) -> None:
        self._heads = [_head(messages.key_schema), _head(messages.value_schema)] if with_schema else [b"", b""]
        self._is_flat, self._key = messages.is_flat, messages.key_name

    def key(self, struct: Struct) -> bytes:
        return self._encode(self._heads[0], struct)

    def value(self, struct: Struct) -> bytes:
        return self._encode(self._heads[1], struct)

    def _encode(self, head: bytes, struct: Struct) -> bytes:
        payload = json.dumps(_json(struct), ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
        return head + payload + b"}" if head else payload

    def row(self, value: bytes) -> bytes | None:
        struct = self._decode(value, self._heads[1])
        row = struct if self._is_flat or struct is None else struct.get("after")
        return json.dumps(row, sort_keys=True).encode() if isinstance(row, dict) else None

    def is_delete(self, value: bytes) -> bool:
        struct = self._decode(value, self._heads[1])
        return struct is not None and struct.get("op") == "d"

    def id(self, key: bytes) -> str | None:
        struct = self._decode(key, self._heads[0])
        return None if struct is None else _id(struct.get(self._key))

    def _decode(self, message: bytes, head: bytes) -> dict[str, JsonValue] | None:
        if not message.startswith(head):
            return None
        try:
            found = json.loads(message[len(head) : len(message) - 1] if head else message)
        except ValueError:
            return None
        return found if isinstance(found, dict) else None


class AvroEncoding:
    """Avro in the Confluent wire format; its schemas are registered under TOPIC-key and TOPIC-value."""

    def __init__(self, messages: RecordMessages, registry: Registry, topic: str) -> None:
        """AuthError, TransientError, SchemaError where the registry refuses the schema."""
        schemas = [messages.key_schema.avro_schema(), messages.value_schema.avro_schema()]
        ids = [_registered(registry, f"{topic}-{part}", schema) for part, schema in zip(_PARTS, schemas, strict=True)]
        self._prefixes = [confluent_prefix(id) for id in ids]
        self._schemas = [fastavro.parse_schema(schema) for schema in schemas]
        self._is_flat, self._key = messages.is_flat, messages.key_name

    def key(self, struct: Struct) -> bytes:
        return self._encode(0, struct)

    def value(self, struct: Struct) -> bytes:
        return self._encode(1, struct)

    def _encode(self, place: int, struct: Struct) -> bytes:
        out = io.BytesIO()
        out.write(self._prefixes[place])
        fastavro.schemaless_writer(out, self._schemas[place], struct)
        return out.getvalue()

    def row(self, value: bytes) -> bytes | None:
        struct = self._decode(1, value)
        row = struct if self._is_flat or struct is None else struct.get("after")
        return repr(sorted(row.items())).encode() if isinstance(row, dict) else None

    def is_delete(self, value: bytes) -> bool:
        struct = self._decode(1, value)
        return struct is not None and struct.get("op") == "d"

    def id(self, key: bytes) -> str | None:
        struct = self._decode(0, key)
        return None if struct is None else _id(struct.get(self._key))

    def _decode(self, place: int, message: bytes) -> dict[str, object] | None:
        if not message.startswith(self._prefixes[place]):
            return None
        try:
            found = fastavro.schemaless_reader(io.BytesIO(message[5:]), self._schemas[place], None)
        except (ValueError, EOFError, LookupError):
            return None
        return found if isinstance(found, dict) else None


def _registered(registry: Registry, subject: str, schema: AvroType) -> int:
    try:
        return registry.register(subject, json.dumps(schema))
    except SchemaError as error:
        raise SchemaError(
            f"{error}: its readers couldn't read older messages and these. Write another `topic:`, or the field's"
            " earlier type in `types:`, or lower the subject's compatibility if all of its readers can take it"
        ) from error


def _id(value: object) -> str | None:
    return str(value) if isinstance(value, str | int) else None


def _head(schema: StructSchema) -> bytes:
    return b'{"schema":' + json.dumps(schema.json_schema(), separators=(",", ":")).encode() + b',"payload":'


def _json(value: Wire | Struct) -> JsonValue:
    if isinstance(value, dict):
        return {name: _json(inner) for name, inner in value.items()}
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value
