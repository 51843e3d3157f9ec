"""Records as Avro: merged ones in the data type's schema of today, proposals as they came."""

from __future__ import annotations

from contextlib import suppress

from sorbus.avro.decode import read_record
from sorbus.avro.encode import encoder
from sorbus.bus.schema_resolver import SchemaResolver
from sorbus.event import data_at, open_frame
from sorbus.mapping.convert import converter
from sorbus.mapping.default import default_value
from sorbus.schema import RecordSchema
from sorbus.two_way.merged_record import Values


class FrameDecoder:
    """Reads the records in events' frames, whichever schema wrote them."""

    def __init__(self, schemas: SchemaResolver) -> None:
        self._schemas = schemas

    def __call__(self, frame: bytes) -> Values:
        """The record in an upsert's frame. Undecodable, PermanentError."""
        head = open_frame(frame)
        record, _ = read_record(self._schemas.schema(head.prefix), frame, data_at(frame, head.at))
        return record


class RecordCodec:
    """Encodes and decodes one data type's records. A field that is newer than the record has its default."""

    def __init__(self, data_type: str, schema: RecordSchema, schemas: SchemaResolver) -> None:
        """Registers the schema. SchemaError, TransientError."""
        self._schema, self._schemas = schema, schemas
        self._prefix = schemas.prefix(data_type, schema)
        self._fields = {field.name: (converter(field.type), encoder(field.type)) for field in schema.fields}
        self._defaults = {field.name: default_value(field) for field in schema.fields}

    def encode(self, values: Values) -> tuple[bytes, bytes]:
        """The head of the record's frame, and its Avro. ValueError, TypeError."""
        defaults = self._defaults
        return self._prefix, b"".join(
            [encode(values.get(name, defaults[name])) for name, (_, encode) in self._fields.items()]
        )

    def decode(self, prefix: bytes, data: bytes) -> Values:
        """A record that any schema of the data type wrote, with today's fields. PermanentError.

        What a field can't have any more is left out.
        """
        record, _ = read_record(self._schemas.schema(prefix), data)
        found: Values = {}
        for name, (convert, _) in self._fields.items():
            with suppress(ValueError, TypeError):
                found[name] = convert(record[name] if name in record else self._defaults[name])
        return found

    def unfit(self, values: Values) -> tuple[str, str] | None:
        """A field that the record lacks or whose value it can't have, and why; None if it can be encoded."""
        for name, (_, encode) in self._fields.items():
            try:
                encode(values.get(name, self._defaults[name]))
            except (ValueError, TypeError) as error:
                return name, str(error)
        return None

    def fits(self, name: str, value: object) -> bool:
        """Whether a field can have this value."""
        if name not in self._fields:
            return False
        try:
            self._fields[name][1](value)
        except (ValueError, TypeError):
            return False
        return True
