"""How many fields of each system have changed, from the state database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from sorbus.drift.store import DriftStore
from sorbus.mapfile.model import Map
from sorbus.ops.monitoring.from_state import FromState
from sorbus.state import State

Drifts = Mapping[tuple[str, str], int]
"""(System, severity) -> open findings."""


def drifts(company: Map, *, has_state: bool) -> FromState[Drifts]:
    """How much has changed where."""

    def ask(state: State) -> Drifts:
        return Counter((one.system, one.severity) for one in DriftStore(state).findings())

    return FromState(company.topic_prefix, ask, {}, "whether sources have changed", is_asked=has_state)
