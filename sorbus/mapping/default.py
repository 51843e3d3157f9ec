"""The value of a canonical field that nothing fills: its default, as Avro's JSON writes it, as a value of the field."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import cast

from sorbus.avro.decode import reader
from sorbus.avro.encode import NULL, encoder
from sorbus.errors import SchemaError
from sorbus.schema import FieldType, Kind, SchemaField

_WRITTEN_AS: Mapping[Kind, Kind] = {"decimal": "bytes", "date": "int", "timestamp": "long", "time": "long"}
"""Logical types, and the types that their defaults are written as (Avro 1.12, "Complex Types")."""


def encoded_default(field: SchemaField) -> bytes | None:
    """The field's default in Avro, or null; None if it requires a value and has no default. SchemaError."""
    if field.type.nullable and field.default is None:
        return NULL
    if not field.has_default:
        return None
    written = _written(field.type)
    try:
        return encoder(written)(_value(field.default, written))
    except (ValueError, TypeError, AttributeError) as error:
        raise SchemaError(f"field {field.name}: its default {field.default!r} is no {field.type}: {error}") from error


def default_value(field: SchemaField) -> object:
    """The same as a Python value, as a record has it; None where the field requires a value. SchemaError."""
    encoded = encoded_default(field)
    return None if encoded is None else reader(field.type)(encoded, 0)[0]


def default_values(fields: Iterable[SchemaField]) -> dict[str, object]:
    """What records of before these fields were there have: field -> its default, where it has one. SchemaError."""
    return {field.name: default_value(field) for field in fields if field.has_default}


class Defaults:
    """Fills what records of before some of these fields were there lack, in their lists and inner records, too."""

    def __init__(self, fields: Sequence[SchemaField]) -> None:
        """SchemaError for a default that its field can't have."""
        self._own = default_values(fields)
        self._inner = {field.name: inner for field in fields if (inner := _inner(field.type)) is not None}

    def fill(self, record: Mapping[str, object], **known: object) -> dict[str, object]:
        """The record, whole. `known`: more fields, such as its id, for those that it lacks."""
        found = {**self._own, **known, **record}
        for name, inner in self._inner.items():
            if name in record:
                found[name] = inner(record[name])
        return found

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing that it fills."""
        return not (self._own or self._inner)


def _inner(kind: FieldType) -> Callable[[object], object] | None:
    """What fills the records inside a value; None where there are none with defaults."""
    if kind.kind == "record":
        defaults = Defaults(kind.fields)
        return None if defaults.is_empty else lambda value: defaults.fill(value) if isinstance(value, dict) else value
    inner = None if kind.item is None else _inner(kind.item)
    if inner is None:
        return None

    def fill(value: object) -> object:
        if isinstance(value, list):
            return [inner(each) for each in value]
        return {name: inner(each) for name, each in value.items()} if isinstance(value, dict) else value

    return fill


def _written(kind: FieldType) -> FieldType:
    return replace(
        kind,
        kind=_WRITTEN_AS.get(kind.kind, kind.kind),
        item=None if kind.item is None else _written(kind.item),
        fields=tuple(replace(field, type=_written(field.type)) for field in kind.fields),
    )


def _value(value: object, kind: FieldType) -> object:
    if value is None:
        return None
    match kind.kind:
        case "bytes":  # one character per byte
            return str(value).encode("latin-1")
        case "float" | "double" if isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        case "array" if kind.item is not None:
            return [_value(each, kind.item) for each in cast("list[object]", value)]
        case "map" if kind.item is not None:
            return {name: _value(each, kind.item) for name, each in cast("dict[str, object]", value).items()}
        case "record":
            given = cast("dict[str, object]", value)
            return {each.name: _value(given.get(each.name, each.default), each.type) for each in kind.fields}
    return value
