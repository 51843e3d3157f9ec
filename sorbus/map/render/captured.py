"""What is captured of a data type: by the sheet's rows, and by same names where a part of the record has no rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from pydantic import ValidationError

from sorbus.connector import producer_connector
from sorbus.errors import SchemaError, SorbusError
from sorbus.map.known_fields import catalog_of
from sorbus.mapfile.model import FieldMapping
from sorbus.mapping.field_refs import (
    CANONICAL,
    ID,
    RECORD,
    FieldRef,
    canonical_fields,
    canonical_ref,
    canonical_reference,
    column_reference,
)
from sorbus.schema import SchemaField

if TYPE_CHECKING:
    from sorbus.map.loaded import LoadedMap


def captured_rows(loaded: LoadedMap, system: str, data_type: str) -> tuple[FieldMapping, ...]:
    """The rows that fill a data type from its owner, those that nobody wrote (`sorbus.mapping.assign`) included."""
    written = loaded.source_rows(system, data_type)
    return (
        *written,
        *_same_named(loaded, system, data_type, {canonical_ref(row.target_field).part for row in written}),
    )


def _same_named(loaded: LoadedMap, system: str, data_type: str, mapped: set[str]) -> Iterator[FieldMapping]:
    try:
        schema = loaded.schema(data_type)
    except SchemaError:
        return  # `map check` reports it
    resources = _resources(loaded, system, data_type)
    catalog = catalog_of(loaded, system) if resources else None
    for part, fields in canonical_fields(schema).items():
        if part in mapped or (part != RECORD and part not in resources):
            continue
        known = catalog.find(resources[part]) if catalog is not None and part in resources else None
        columns = {field.name for field in known.fields} if known is not None else None
        for name in fields:
            if name in resources or (part == RECORD and name == ID) or (columns is not None and name not in columns):
                continue
            place = FieldRef(part, name)
            yield FieldMapping(
                source_system=system,
                source_field=column_reference(place, resources) if resources else name,
                target_system=CANONICAL,
                target_field=canonical_reference(place, data_type),
            )


def _resources(loaded: LoadedMap, system: str, data_type: str) -> Mapping[str, str]:
    """Which of the owner's resources holds which part of the record; empty if that isn't known."""
    described = loaded.map.systems.get(system)
    try:
        connector = producer_connector(described.kind if described else "")
        return connector.resources_of(connector.Source.model_validate(loaded.map.data_types[data_type].source))
    except (SorbusError, ValidationError, ImportError, KeyError):
        return {}


def default_of(loaded: LoadedMap, reference: str) -> str:
    """What a canonical field holds where nothing fills it, as text; "": nothing."""
    try:
        schema = loaded.schema(reference.partition(".")[0])
    except (SchemaError, KeyError):
        return ""
    place = canonical_ref(reference)
    fields: Mapping[str, SchemaField] = schema.by_name
    if place.part:
        item = fields[place.part].type.item if place.part in fields else None
        fields = {field.name: field for field in item.fields} if item is not None else {}
    found = fields.get(place.name)
    if found is None or not found.has_default or found.type.kind in ("bytes", "decimal"):
        return ""
    return {True: "yes", False: "no"}.get(found.default, "") if isinstance(found.default, bool) else (
        str(found.default) if isinstance(found.default, str | int | float) else ""
    )  # fmt: skip
