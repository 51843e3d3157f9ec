"""A system's fields as known without connecting: from its catalog beside the map, or from its connector."""

from __future__ import annotations

from sorbus.connector import consumer_connector, known_kinds, producer_connector
from sorbus.discovery import SupportsDescription
from sorbus.errors import SorbusError
from sorbus.map.catalog import Catalog, read_catalog
from sorbus.map.loaded import LoadedMap
from sorbus.map.steps import step_of, step_resource


def catalog_of(loaded: LoadedMap, system: str) -> Catalog | None:
    """A system's resources; None if unknown. Errors in a catalog are left to the check."""
    try:
        if (found := read_catalog(loaded.folder, system)) is not None:
            return found
        if (step := step_of(loaded.map, system)) is not None:
            read = step_resource(step, loaded.schema(step.source), loaded.map.lookups)
            return Catalog(None, {resource.name: resource for resource in read})
        kind = loaded.map.systems[system].kind
        is_source = kind in known_kinds("sorbus.producers")
        connector: object = (producer_connector if is_source else consumer_connector)(kind)
        if isinstance(connector, SupportsDescription):
            described = connector.describe(loaded.for_check().system(system))
            return Catalog(None, {resource.name: resource for resource in described})
    except (SorbusError, ImportError):
        return None
    return None
