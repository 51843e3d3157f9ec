"""How many fields of each flow were changed by hand in its target, from the state database."""

from __future__ import annotations

from collections.abc import Mapping

from sorbus.abilities import DetectsConflicts
from sorbus.conflict.store import Conflicts
from sorbus.connector import consumer_connector, known_kinds
from sorbus.mapfile.model import Map
from sorbus.ops.monitoring.from_state import FromState
from sorbus.state import State

STATES = ("open", "overwritten")


def conflicts(company: Map) -> FromState[Mapping[tuple[str, str], int]]:
    """(Flow, state) -> open conflicts, and those overwritten within a day; 0 where there are none.

    A map without targets that are compared isn't asked for.
    """
    known = known_kinds("sorbus.consumers")
    compared = {kind for kind in known if isinstance(consumer_connector(kind), DetectsConflicts)}
    targets = {name for name, system in company.systems.items() if system.kind in compared}
    flows = {flow.id: (flow.to, flow.data_type) for flow in company.flows if flow.runs and flow.to in targets}

    def ask(state: State) -> Mapping[tuple[str, str], int]:
        counts = Conflicts(state).counts()
        return {(flow, each): counts.get((*of, each), 0) for flow, of in flows.items() for each in STATES}

    return FromState(company.topic_prefix, ask, {}, "how many conflicts there are", is_asked=bool(flows))
