"""The newest event of one record on its topic."""

from __future__ import annotations

from sorbus.bus.intake import take_in
from sorbus.bus.kafka import all_partitions, bytes_of, read_to_end, topic_reader
from sorbus.bus.names import Names
from sorbus.bus.schemabook import SchemaBook
from sorbus.connector import BoundFlow, Delivery
from sorbus.settings import Settings


def newest(settings: Settings, flow: BoundFlow, id: str) -> Delivery | None:
    """What the flow would deliver for the record; None if the topic has no event of it.

    Reads the whole topic: nothing else knows where a record is. PermanentError if the event can't be read;
    TransientError without Kafka or the registry.
    """
    names, key = Names(flow.system.topic_prefix), id.encode()
    reader = topic_reader(settings, f"preview-{flow.flow.id}")
    try:
        partitions = all_partitions(reader, names.topic(flow.flow.data_type))
        found = [message for message in read_to_end(reader, partitions) if bytes_of(message.key()) == key]
    finally:
        reader.close()
    if not found:
        return None
    taken = take_in(found, SchemaBook(settings, names, [flow.schema]))
    if not taken.deliveries and taken.refused:
        raise taken.refused[-1][1]
    return taken.deliveries[0] if taken.deliveries else None
