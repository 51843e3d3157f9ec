"""How many records of each flow wait, and for what, from the state database."""

from __future__ import annotations

from collections.abc import Mapping

from sorbus.mapfile.model import Map
from sorbus.ops.monitoring.from_state import FromState
from sorbus.state import State
from sorbus.waiting.store import counts

WHYS = ("reference", "incomplete")
Waits = Mapping[tuple[str, str], int]
"""(Flow, why) -> records."""


def waiting(company: Map, *, has_state: bool) -> FromState[Waits]:
    """How many wait, 0 where none does."""
    flows = [flow.id for flow in company.flows if flow.runs]

    def ask(state: State) -> Waits:
        found = counts(state)
        return {(flow, why): found.get((flow, why), 0) for flow in flows for why in WHYS}

    return FromState(company.topic_prefix, ask, {}, "which records wait", is_asked=has_state)
