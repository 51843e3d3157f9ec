"""What people do by hand, and whether it is overdue."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from sorbus.mapfile.model import Map
from sorbus.ops.checklists.occurrences import Checklist, Standing, as_data
from sorbus.ops.checklists.store import Checklists
from sorbus.ops.decisions.open_decisions import Gauge, HealthBadge, OpenDecisions, Severity
from sorbus.ops.monitoring.flow_state import FLOW_LABELS, FlowState
from sorbus.ops.monitoring.from_state import FromState
from sorbus.state import State

MARKS: Mapping[Standing, Severity] = {"overdue": "bad", "open": "idle", "done": "ok", "on demand": "idle"}
"""How the map marks a flow by hand."""


@dataclass(frozen=True, slots=True)
class ChecklistStandings(OpenDecisions):
    """Every checklist as it stands."""

    checklists: tuple[Checklist, ...] = ()

    def needs_person(self) -> int:
        return sum(one.standing == "overdue" for one in self.checklists)

    def flow_badges(self, flow: str) -> Iterator[HealthBadge]:
        for one in self.checklists:
            if one.flow == flow:
                yield HealthBadge(MARKS[one.standing], f"by hand, {one.standing}")

    def complaints(self) -> Iterator[str]:
        for one in self.checklists:
            if one.standing == "overdue":
                yield f"{one.flow}: done by hand, and overdue; {one.responsible} does it"

    def as_json(self) -> dict[str, JsonValue]:
        return {"checklists": [as_data(one) for one in self.checklists]}

    def metrics(self, flows: Sequence[FlowState], at: float) -> Iterator[Gauge]:
        yield Gauge(
            "sorbus_checklist_rounds_without_figures",
            "The last rounds in a row that were finished by words alone.",
            (*FLOW_LABELS, "responsible"),
            [
                ((one.flow, one.data_type, one.target, one.responsible.name), float(one.rounds_without_figures))
                for one in self.checklists
            ],
        )
        yield Gauge(
            "sorbus_checklist_overdue_seconds",
            "0 while it isn't.",
            (*FLOW_LABELS, "responsible"),
            [
                (
                    (one.flow, one.data_type, one.target, one.responsible.name),
                    at - one.overdue_since.timestamp() if one.overdue_since else 0.0,
                )
                for one in self.checklists
            ],
        )


def checklist_standings(company: Map, *, has_state: bool) -> FromState[ChecklistStandings]:
    """None is asked for where the map has no flow by hand."""

    def ask(state: State) -> ChecklistStandings:
        return ChecklistStandings(tuple(Checklists(company, state).all()))

    is_asked = has_state and any(flow.manual for flow in company.flows)
    return FromState(company.topic_prefix, ask, ChecklistStandings(), "which checklists are due", is_asked=is_asked)
