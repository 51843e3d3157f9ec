"""How many fields of each flow were changed by hand in its target."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import JsonValue

from sorbus.abilities import DetectsConflicts
from sorbus.conflict.store import Conflicts
from sorbus.connector import consumer_connector, known_kinds
from sorbus.mapfile.model import Map
from sorbus.ops.decisions.open_decisions import Figure, Gauge, HealthBadge, OpenDecisions, counted
from sorbus.ops.monitoring.flow_state import FLOW_LABELS, FlowState
from sorbus.ops.monitoring.from_state import FromState
from sorbus.state import State

STATES = ("open", "overwritten")


@dataclass(frozen=True, slots=True)
class ConflictCounts(OpenDecisions):
    """(Flow, state: open or overwritten) -> fields that wait for a person, or were overwritten within a day."""

    fields: Mapping[tuple[str, str], int] = field(default_factory=dict)

    def needs_person(self) -> int:
        return sum(count for (_, state), count in self.fields.items() if state == "open")

    def figure(self, flow: str | None = None) -> Figure | None:
        return None if flow else Figure("Conflicts", self.needs_person(), "warn", "/conflicts")

    def flow_badges(self, flow: str) -> Iterator[HealthBadge]:
        yield from counted("warn", self.fields.get((flow, "open"), 0), "conflict")

    def lines(self) -> Iterator[str]:
        for (flow, state), count in self.fields.items():
            if count:
                what = "wait for a person" if state == "open" else "were overwritten within a day"
                yield f"{flow}: {count:,} fields changed by hand {what}: sorbus conflicts list"

    def as_json(self) -> dict[str, JsonValue]:
        found = sorted(self.fields.items())
        return {"conflicts": [{"flow": flow, "state": state, "fields": count} for (flow, state), count in found]}

    def metrics(self, flows: Sequence[FlowState], at: float) -> Iterator[Gauge]:
        yield Gauge(
            "sorbus_conflicts",
            "Fields changed by hand in a target that another system owns: open, or overwritten within a day.",
            (*FLOW_LABELS, "state"),
            [
                ((*flow.labels, state), count)
                for flow in flows
                for (name, state), count in self.fields.items()
                if name == flow.flow
            ],
        )


def conflict_counts(company: Map) -> FromState[ConflictCounts]:
    """Open conflicts, and those overwritten within a day; 0 where there are none.

    A map without targets that are compared isn't asked for.
    """
    known = known_kinds("sorbus.consumers")
    compared = {kind for kind in known if isinstance(consumer_connector(kind), DetectsConflicts)}
    targets = {name for name, system in company.systems.items() if system.kind in compared}
    flows = {flow.id: (flow.to, flow.data_type) for flow in company.flows if flow.runs and flow.to in targets}

    def ask(state: State) -> ConflictCounts:
        counts = Conflicts(state).counts()
        return ConflictCounts(
            {(flow, each): counts.get((*of, each), 0) for flow, of in flows.items() for each in STATES}
        )

    return FromState(company.topic_prefix, ask, ConflictCounts(), "how many conflicts there are", is_asked=bool(flows))
