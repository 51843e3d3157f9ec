"""Which schema wrote a frame, and which frame a schema writes.

Readers ask the topic of written schemas first, where an id keeps its meaning whatever becomes of the registry; then the
registry, for events of before that topic was there.
"""

from __future__ import annotations

from collections.abc import Iterable

from sorbus.bus.names import Names
from sorbus.bus.registration import keep_local, register
from sorbus.bus.registry import open_registry
from sorbus.bus.schema_history import schema_history
from sorbus.errors import PermanentError, SchemaError
from sorbus.event import envelope_schema, record_inside, single_object_prefix
from sorbus.schema import RecordSchema, parse_schema
from sorbus.schema_reading import read_as
from sorbus.settings import Settings


class SchemaResolver:
    """Maps frame prefixes to record schemas and back; caches both."""

    def __init__(self, settings: Settings, names: Names, schemas: Iterable[RecordSchema] = ()) -> None:
        self._names = names
        self._registry = open_registry(settings)
        self._history = schema_history(settings, names)
        self._known: dict[bytes, RecordSchema] = {}
        self._records: dict[str, RecordSchema] = {}
        """By name, as they are read."""
        for schema in schemas:
            self._known[single_object_prefix(envelope_schema(schema))] = schema
            self._records[_short(schema)] = schema

    def prefix(self, data_type: str, schema: RecordSchema) -> bytes:
        """The frame's head for events of `data_type`; registers a new schema. SchemaError, TransientError."""
        subject, envelope = self._names.subject(data_type), envelope_schema(schema)
        if self._registry is None:
            return keep_local(self._history, subject, envelope)
        prefix = register(self._registry, self._history, subject, envelope.text)
        self._known[prefix] = schema
        return prefix

    def schema(self, prefix: bytes) -> RecordSchema:
        """The record schema for a frame's head, with the names that fields have now. PermanentError if it is unknown,
        TransientError to retry.

        SchemaError if events with this head were written with different schemas.
        """
        found = self._known.get(prefix)
        if found is None:
            found = self._known[prefix] = self._ask(prefix)
        return found

    def _ask(self, prefix: bytes) -> RecordSchema:
        if written := self._history.schema(prefix):
            return self._of_this_type(written.record, "the schema history")
        if prefix[0] != 0:
            raise _unknown(f"no local schema has the fingerprint {prefix[2:].hex()}; put its .avsc into schemas/")
        number = int.from_bytes(prefix[1:], "big")
        if self._registry is None:
            raise _unknown(f"its id is {number}, and no SORBUS_REGISTRY is set")
        text = self._registry.schema(number)
        if text is None:
            raise _unknown(f"the registry has no id {number}; see docs/runbooks/registry-emptied.md")
        try:
            found = record_inside(parse_schema(text, where=f"schema id {number}"))
        except SchemaError as error:
            raise _unknown(str(error)) from error
        return self._of_this_type(found, f"the registry's id {number}")

    def _of_this_type(self, found: RecordSchema, where: str) -> RecordSchema:
        if self._records and _short(found) not in self._records:
            wanted = " or ".join(sorted(self._records))
            raise _unknown(
                f"{where} says {found.name}, not {wanted}: the registry was emptied, or isn't the one that the event"
                " was written with; see docs/runbooks/registry-emptied.md"
            )
        reader = self._records.get(_short(found))
        return found if reader is None else read_as(found, reader)


def _short(schema: RecordSchema) -> str:
    return schema.name.rpartition(".")[2]


def _unknown(why: str) -> PermanentError:
    return PermanentError(f"unknown schema: {why}", reason="unknown schema")
