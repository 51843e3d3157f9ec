"""A description's resources, for `sorbus map check` and `sorbus discover`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sorbus.abilities import CatalogField, Resource
from sorbus.http_api.description import ApiField, ApiResource, Description, FieldKind
from sorbus.schema import Kind

_KINDS: Mapping[FieldKind, Kind] = {
    "text": "string",
    "integer": "long",
    "decimal": "decimal",
    "number": "double",
    "boolean": "boolean",
    "date": "date",
    "ms-date": "date",
    "datetime": "timestamp",
    "epoch": "timestamp",
    "epoch-ms": "timestamp",
    "ms-json": "timestamp",
    "object": "record",
    "list": "array",
    "set": "array",
}


def resources_of_description(description: Description) -> list[Resource]:
    """Every resource, and each list of records inside one as RESOURCE.LIST; fields by their paths."""
    return [found for name, resource in description.resources.items() for found in _resources(name, resource)]


def _resources(name: str, resource: ApiResource) -> Iterator[Resource]:
    inside = tuple(f"{path}[]." for path in resource.lists.values())
    lists = frozenset(resource.lists.values())
    own = {path: field for path, field in resource.fields.items() if not path.startswith(inside) or not inside}
    yield Resource(name, tuple(_field(path, field, lists) for path, field in own.items()), (resource.id,))
    for label, path in resource.lists.items():
        start = f"{path}[]."
        items = {key.removeprefix(start): field for key, field in resource.fields.items() if key.startswith(start)}
        yield Resource(f"{name}.{label}", tuple(_field(key, field, lists) for key, field in items.items()), ())


def _field(path: str, field: ApiField, lists: frozenset[str]) -> CatalogField:
    """A list that is a resource itself is filled there; objects and lists accept any JSON."""
    native: str = "json" if field.kind in ("object", "list", "set") else field.kind
    if field.largest:
        native += f"({field.largest})"
    required = field.required and not field.read_only and path not in lists
    return CatalogField(path, _KINDS[field.kind], native, required, read_only=field.read_only)
