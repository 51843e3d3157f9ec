"""What is known of a system's fields without reaching it: from its catalog beside the map, or its connector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import ValidationError

from sorbus.connector import Describes, consumer_connector, known_kinds, producer_connector
from sorbus.errors import SorbusError
from sorbus.map.catalog import Catalog, read_catalog
from sorbus.map.model import Flow

if TYPE_CHECKING:
    from sorbus.map.load import LoadedMap


def catalog_of(loaded: LoadedMap, system: str) -> Catalog | None:
    """A system's resources; None where nothing is known of them. What is wrong with a catalog is for the check."""
    try:
        if (found := read_catalog(loaded.folder, system)) is not None:
            return found
        kind = loaded.map.systems[system].kind
        is_source = kind in known_kinds("sorbus.producers")
        connector: object = (producer_connector if is_source else consumer_connector)(kind)
        if isinstance(connector, Describes):
            described = connector.describe(loaded.for_check().system(system))
            return Catalog(None, {resource.name: resource for resource in described})
    except (SorbusError, ImportError):
        return None
    return None


def source_resources(loaded: LoadedMap, data_type: str) -> Mapping[str, str]:
    """Part -> the owner's resource that holds it; empty where the map doesn't say it well enough."""
    written = loaded.map.data_types[data_type]
    system = loaded.map.systems.get(str(written.system_of_record))
    try:
        connector = producer_connector(system.kind if system else "")
        return connector.resources_of(connector.Source.model_validate(written.source))
    except (SorbusError, ValidationError, ImportError):
        return {}


def target_resources(loaded: LoadedMap, flow: Flow) -> Mapping[str, str]:
    """Part -> the target's resource that gets it; empty where the map doesn't say it well enough."""
    system = loaded.map.systems.get(flow.to)
    try:
        connector = consumer_connector(system.kind if system else "")
        return connector.resources_of(connector.Target.model_validate(flow.target))
    except (SorbusError, ValidationError, ImportError):
        return {}
