"""Which schema wrote a frame, and which frame a schema writes: from the registry, or from local schemas."""

from __future__ import annotations

from collections.abc import Iterable

from sorbus.bus.names import Names
from sorbus.bus.registry import open_registry
from sorbus.errors import PermanentError, SchemaError
from sorbus.event import confluent_prefix, envelope_schema, record_inside, single_object_prefix
from sorbus.schema import RecordSchema, parse_schema
from sorbus.settings import Settings


class SchemaResolver:
    """Maps frame prefixes to record schemas and back; caches both."""

    def __init__(self, settings: Settings, names: Names, schemas: Iterable[RecordSchema] = ()) -> None:
        self._names = names
        self._registry = open_registry(settings)
        self._known: dict[bytes, RecordSchema] = {}
        self._records: set[str] = set()
        for schema in schemas:
            self._known[single_object_prefix(envelope_schema(schema))] = schema
            self._records.add(_short(schema))

    def prefix(self, data_type: str, schema: RecordSchema) -> bytes:
        """The frame's head for events of `data_type`; registers a new schema. SchemaError, TransientError."""
        envelope = envelope_schema(schema)
        if self._registry is None:
            return single_object_prefix(envelope)
        prefix = confluent_prefix(self._registry.register(self._names.subject(data_type), envelope.text))
        self._known[prefix] = schema
        return prefix

    def schema(self, prefix: bytes) -> RecordSchema:
        """The record schema for a frame's head. PermanentError if it is unknown, TransientError to retry."""
        found = self._known.get(prefix)
        if found is None:
            found = self._known[prefix] = self._ask(prefix)
        return found

    def _ask(self, prefix: bytes) -> RecordSchema:
        if prefix[0] != 0:
            raise _unknown(f"no local schema has the fingerprint {prefix[2:].hex()}; put its .avsc into schemas/")
        number = int.from_bytes(prefix[1:], "big")
        if self._registry is None:
            raise _unknown(f"its id is {number}, and no SORBUS_REGISTRY is set")
        text = self._registry.schema(number)
        if text is None:
            raise _unknown(f"the registry has no id {number}")
        try:
            found = record_inside(parse_schema(text, where=f"schema id {number}"))
        except SchemaError as error:
            raise _unknown(str(error)) from error
        if self._records and _short(found) not in self._records:
            wanted = " or ".join(sorted(self._records))
            raise _unknown(  # a registry that was emptied gives its ids out again
                f"the registry's id {number} is of {found.name}, not of {wanted}: it was emptied, or isn't the one that"
                " the event was written with; restore it from its backup"
            )
        return found


def _short(schema: RecordSchema) -> str:
    return schema.name.rpartition(".")[2]


def _unknown(why: str) -> PermanentError:
    return PermanentError(f"unknown schema: {why}", reason="unknown schema")
