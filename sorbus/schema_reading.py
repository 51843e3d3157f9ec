"""A writer's schema as a reader of another version reads it (Avro 1.12, "Schema Resolution"): under today's names.

A field that was renamed has its former names as `aliases`; text and bytes, which are written alike, are what the reader
says. Nothing of the bytes' layout changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256

from sorbus.schema import FieldType, RecordSchema, SchemaField


def read_as(writer: RecordSchema, reader: RecordSchema) -> RecordSchema:
    """The writer's fields in its order, with the reader's names and texts; the writer itself where nothing differs."""
    fields = _fields(writer.fields, reader.fields)
    if fields == writer.fields:
        return writer
    # Readers are kept by their schema's text.
    read_by = sha256(reader.text.encode()).hexdigest()[:16]
    return RecordSchema(writer.name, fields, {**writer.json, "readBy": read_by}, writer.doc)


def former_names(fields: Sequence[SchemaField], written: frozenset[str]) -> dict[str, SchemaField]:
    """Of the fields that weren't written: the names that they may have been written under."""
    return {alias: field for field in fields if field.name not in written for alias in field.aliases}


def _fields(written: Sequence[SchemaField], read: Sequence[SchemaField]) -> tuple[SchemaField, ...]:
    named = {field.name: field for field in read}
    named = {**former_names(read, frozenset(field.name for field in written)), **named}
    return tuple(
        replace(field, name=wanted.name, type=_type(field.type, wanted.type))
        if (wanted := named.get(field.name)) is not None
        else field
        for field in written
    )


def _type(written: FieldType, read: FieldType) -> FieldType:
    if {written.kind, read.kind} == {"string", "bytes"}:
        return replace(written, kind=read.kind)
    if written.kind == read.kind == "record":
        return replace(written, fields=_fields(written.fields, read.fields))
    if written.kind == read.kind and written.item is not None and read.item is not None:
        return replace(written, item=_type(written.item, read.item))
    return written
