"""Where in its target a flow writes, and what it makes of records there: whether that is what it was before."""

from __future__ import annotations

import json
from hashlib import blake2b

from sorbus.abilities import NeedsOwnPlace
from sorbus.connector import BoundFlow, consumer_connector

_LONGEST = 500
"""Characters: it is committed with each offset, and Kafka takes 4,096 bytes with one (offset.metadata.max.bytes)."""


def place_of_flow(flow: BoundFlow) -> str:
    """The table, topic, file or resource, and its system, as shown to people; a long one ends with a digest."""
    connector = consumer_connector(flow.system.system.kind)
    if isinstance(connector, NeedsOwnPlace):
        place = connector.place_of(flow)
    else:
        place = f"{connector.resources_of(flow.options).get('', '')} of {flow.system.name}"
    if len(place) <= _LONGEST:
        return place
    return f"{place[:_LONGEST]}~{blake2b(place.encode(), digest_size=8).hexdigest()}"


def rules_of_flow(flow: BoundFlow) -> str:
    """A digest of what decides which records are delivered, and as what: rows, lookup tables, conditions, defaults."""
    written, rows = flow.flow, sorted((row.source_field, row.target_field, row.rule) for row in flow.mapping)
    rules = " ".join([*(rule for _, _, rule in rows), written.where or ""])
    lookups = {name: table for name, table in flow.lookups.items() if name in rules}
    said = written.model_dump(mode="json", include={"where", "on_leave", "deletes", "on_incomplete", "defaults"})
    lists = flow.options.model_dump(mode="json", include={"children", "lists"})
    told = json.dumps([rows, lookups, said, lists], sort_keys=True, default=str)
    return blake2b(told.encode(), digest_size=8).hexdigest()
