"""Which schema wrote a frame, and which frame a schema writes: by registry, or by the schemas at hand."""

from __future__ import annotations

from collections.abc import Iterable

import httpx
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from sorbus.bus.names import Names
from sorbus.errors import AuthError, PermanentError, SchemaError, SorbusError, TransientError
from sorbus.event import confluent_prefix, envelope_schema, record_inside, single_object_prefix
from sorbus.schema import RecordSchema, parse_schema
from sorbus.settings import Settings

_NOT_FOUND = {404, 40401, 40402, 40403}


def registry_client(settings: Settings) -> SchemaRegistryClient:
    """A client of the configured registry."""
    return SchemaRegistryClient({"url": settings.registry, "max.retries": 2})


def registry_error(error: Exception, doing: str) -> SorbusError:
    """A registry's failure in our terms."""
    if isinstance(error, SchemaRegistryError):
        if error.http_status_code in (401, 403):
            return AuthError(f"{doing}: the schema registry refuses us: {error.error_message}")
        if error.http_status_code == 409 or error.error_code in (409, 42201):
            return SchemaError(f"{doing}: {error.error_message}")
        if error.error_code in _NOT_FOUND or error.http_status_code == 404:
            return SchemaError(f"{doing}: the schema registry has no such schema: {error.error_message}")
    return TransientError(f"{doing}: the schema registry can't answer: {error}")


class SchemaBook:
    """Frame prefixes to record schemas and back, remembered once seen."""

    def __init__(self, settings: Settings, names: Names, schemas: Iterable[RecordSchema] = ()) -> None:
        self._names = names
        self._client = registry_client(settings) if settings.registry else None
        self._known: dict[bytes, RecordSchema] = {}
        for schema in schemas:
            self._known[single_object_prefix(envelope_schema(schema))] = schema

    def prefix(self, data_type: str, schema: RecordSchema) -> bytes:
        """The frame's head for events of `data_type`; registers a new schema. SchemaError, TransientError."""
        envelope = envelope_schema(schema)
        if self._client is None:
            return single_object_prefix(envelope)
        subject = self._names.subject(data_type)
        try:
            number = self._client.register_schema(subject, Schema(envelope.text, "AVRO"))
        except (SchemaRegistryError, httpx.HTTPError, OSError) as error:
            raise registry_error(error, f"registering {subject}") from error
        prefix = confluent_prefix(number)
        self._known[prefix] = schema
        return prefix

    def schema(self, prefix: bytes) -> RecordSchema:
        """The record schema behind a frame's head. PermanentError when nobody knows it, TransientError to ask again."""
        found = self._known.get(prefix)
        if found is None:
            found = self._known[prefix] = self._ask(prefix)
        return found

    def _ask(self, prefix: bytes) -> RecordSchema:
        if prefix[0] != 0:
            raise PermanentError(
                f"unknown schema: none at hand has the fingerprint {prefix[2:].hex()}; put its .avsc into schemas/",
                reason="unknown schema",
            )
        number = int.from_bytes(prefix[1:], "big")
        if self._client is None:
            raise PermanentError(
                f"schema id {number}, but no registry is set: SORBUS_REGISTRY", reason="unknown schema"
            )
        try:
            text = self._client.get_schema(number).schema_str
        except (SchemaRegistryError, httpx.HTTPError, OSError) as error:
            failure = registry_error(error, f"asking for schema id {number}")
            if isinstance(failure, SchemaError):
                raise PermanentError(
                    f"unknown schema: the registry has no id {number}", reason="unknown schema", words=str(error)
                ) from error
            raise failure from error
        try:
            return record_inside(parse_schema(text or "", where=f"schema id {number}"))
        except SchemaError as error:
            raise PermanentError(str(error), reason="unknown schema") from error
