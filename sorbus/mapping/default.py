"""The value of a canonical field that nothing fills."""

from __future__ import annotations

from sorbus.avro.encode import NULL, encoder
from sorbus.mapping.convert import convert
from sorbus.schema import FieldType, SchemaField


def encoded_default(field: SchemaField) -> bytes | None:
    """The field's default in Avro, or null; None if it requires a value and has no default."""
    if field.type.nullable and field.default is None:
        return NULL
    return encoder(field.type)(_default(field.default, field.type)) if field.has_default else None


def _default(value: object, kind: FieldType) -> object:
    if kind.kind in ("bytes", "decimal") and isinstance(value, str):  # Avro writes them as text, one character per byte
        raw = value.encode("latin-1")
        return raw if kind.kind == "bytes" else convert(int.from_bytes(raw, "big", signed=True), kind)
    return value
