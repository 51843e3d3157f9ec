"""How many records of each flow wait for a person to say whether the target has them, from the state database."""

from __future__ import annotations

from collections.abc import Mapping

from sorbus.identity.candidates import Candidates
from sorbus.mapfile.model import Map
from sorbus.ops.monitoring.from_state import FromState
from sorbus.state import State


def duplicates(company: Map) -> FromState[Mapping[str, int]]:
    """Flow -> open duplicate candidates, 0 where there are none. A map without systems behind HTTP isn't asked for."""
    http = {name for name, system in company.systems.items() if system.kind == "http"}
    flows = {flow.id: (flow.to, flow.data_type) for flow in company.flows if flow.runs and flow.to in http}

    def ask(state: State) -> Mapping[str, int]:
        counts = Candidates(state).counts()
        return {flow: counts.get(of, 0) for flow, of in flows.items()}

    return FromState(company.topic_prefix, ask, {}, "how many duplicates wait", is_asked=bool(flows))
