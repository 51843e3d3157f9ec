"""The newest event of one record on its topic."""

from __future__ import annotations

from sorbus.bus.deserialize import decode_batch
from sorbus.bus.names import Names
from sorbus.bus.record import messages_of
from sorbus.bus.schema_resolver import SchemaResolver
from sorbus.connector import BoundFlow, Delivery
from sorbus.settings import Settings


def newest(settings: Settings, flow: BoundFlow, id: str) -> Delivery | None:
    """What the flow would deliver for the record; None if the topic has no event for it.

    PermanentError if the event can't be read; TransientError without Kafka or the registry.
    """
    names = Names(flow.system.topic_prefix)
    found = messages_of(settings, names.topic(flow.flow.data_type), id.encode(), f"preview-{flow.flow.id}")
    taken = decode_batch(found, SchemaResolver(settings, names, [flow.schema]))
    if not taken.deliveries and taken.refused:
        raise taken.refused[-1][1]
    return taken.deliveries[0] if taken.deliveries else None
