"""Which of a system's resources (tables, lists) hold a data type, according to the map."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import ValidationError

from sorbus.connector import consumer_connector, producer_connector
from sorbus.errors import SorbusError
from sorbus.mapfile.model import Flow, Map


def source_resources(map: Map, data_type: str) -> Mapping[str, str]:
    """Part -> the owner's resource that holds it; empty if the map is incomplete."""
    written = map.data_types[data_type]
    system = map.systems.get(str(written.system_of_record))
    try:
        connector = producer_connector(system.kind if system else "")
        return connector.resources_of(connector.Source.model_validate(written.source))
    except (SorbusError, ValidationError, ImportError):
        return {}


def target_resources(map: Map, flow: Flow) -> Mapping[str, str]:
    """Part -> the target's resource that receives it; empty if the map is incomplete."""
    system = map.systems.get(flow.to)
    try:
        connector = consumer_connector(system.kind if system else "")
        return connector.resources_of(connector.Target.model_validate(flow.target))
    except (SorbusError, ValidationError, ImportError):
        return {}
