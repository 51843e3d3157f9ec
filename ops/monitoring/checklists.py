"""What people do by hand, and whether it is overdue, from the state database."""

from __future__ import annotations

from sorbus.mapfile.model import Map
from sorbus.ops.checklists.occurrences import Checklist
from sorbus.ops.checklists.store import Checklists
from sorbus.ops.monitoring.from_state import FromState


def checklists(company: Map, *, has_state: bool) -> FromState[tuple[Checklist, ...]]:
    """Every checklist as it stands; none is asked for where the map has no flow by hand."""
    is_asked = has_state and any(flow.manual for flow in company.flows)
    what = "which checklists are due"
    return FromState(
        company.topic_prefix, lambda state: tuple(Checklists(company, state).all()), (), what, is_asked=is_asked
    )
