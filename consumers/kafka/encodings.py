"""Messages as bytes: JSON as JsonConverter reads it, with or without schemas, and Avro as AvroConverter reads it."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping
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
        self._fields = _leaves(messages.value_schema.json_schema())
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
        return json.dumps(_filled(row), sort_keys=True).encode() if isinstance(row, dict) else None

    def is_delete(self, value: bytes) -> bool:
        struct = self._decode(value, self._heads[1])
        return struct is not None and struct.get("op") == "d"

    def id(self, key: bytes) -> str | None:
        struct = self._decode(key, self._heads[0])
        return None if struct is None else _id(struct.get(self._key))

    def _decode(self, message: bytes, head: bytes) -> dict[str, JsonValue] | None:
        is_ours = message.startswith(head)
        try:
            found = json.loads(message[len(head) : len(message) - 1] if head and is_ours else message)
        except (ValueError, RecursionError):
            return None
        if not isinstance(found, dict) or is_ours:
            return found if isinstance(found, dict) else None
        earlier, payload = _leaves(found.get("schema")), found.get("payload")
        same = all(earlier[name] == schema for name, schema in self._fields.items() if name in earlier)
        return payload if earlier and same and isinstance(payload, dict) else None


class AvroEncoding:
    """Avro in the Confluent wire format; its schemas are registered under TOPIC-key and TOPIC-value."""

    def __init__(self, messages: RecordMessages, registry: Registry, topic: str) -> None:
        """AuthError, TransientError, SchemaError where the registry refuses the schema."""
        schemas = [messages.key_schema.avro_schema(), messages.value_schema.avro_schema()]
        ids = [_registered(registry, f"{topic}-{part}", schema) for part, schema in zip(_PARTS, schemas, strict=True)]
        self._prefixes = [confluent_prefix(id) for id in ids]
        self._schemas = [fastavro.parse_schema(schema) for schema in schemas]
        self._registry, self._earlier = registry, dict[int, object]()
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
        return repr(sorted(_filled(row).items())).encode() if isinstance(row, dict) else None

    def is_delete(self, value: bytes) -> bool:
        struct = self._decode(1, value)
        return struct is not None and struct.get("op") == "d"

    def id(self, key: bytes) -> str | None:
        struct = self._decode(0, key)
        return None if struct is None else _id(struct.get(self._key))

    def _decode(self, place: int, message: bytes) -> dict[str, object] | None:
        try:
            schema = self._schemas[place] if message.startswith(self._prefixes[place]) else self._written_with(message)
            found = schema and fastavro.schemaless_reader(io.BytesIO(message[5:]), schema, None)  # type: ignore[arg-type]
        except (ValueError, EOFError, LookupError):
            return None
        return found if isinstance(found, dict) else None

    def _written_with(self, message: bytes) -> object:
        """The schema of a message in an earlier form of the record; None where the registry knows none."""
        if message[:1] != b"\0" or len(message) < 5:
            return None
        number = int.from_bytes(message[1:5], "big")
        if number not in self._earlier:
            text = self._registry.schema(number)
            self._earlier[number] = None if text is None else fastavro.parse_schema(json.loads(text))
        return self._earlier[number]


def _filled(row: Mapping[str, object]) -> dict[str, object]:
    """The fields with a value: a field that came later is as empty in an earlier message as one without."""
    return {name: value for name, value in row.items() if value is not None}


def _leaves(schema: object) -> dict[str, object]:
    """Path -> type of each field of a Connect schema, without whether it may be missing."""
    found: dict[str, object] = {}
    fields = schema.get("fields") if isinstance(schema, dict) else None
    for one in fields if isinstance(fields, list) else ():
        if isinstance(one, dict):
            name = str(one.get("field"))
            found |= {f"{name}.{path}": type for path, type in _leaves(one).items()}
            found[name] = [
                one.get("type"),
                one.get("name") if one.get("type") != "struct" else "",
                one.get("parameters"),
            ]
    return found


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
