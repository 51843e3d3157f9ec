"""How many records of each flow wait for a person to say whether the target has them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import JsonValue

from sorbus.identity.candidates import Candidates
from sorbus.mapfile.model import Map
from sorbus.ops.decisions.open_decisions import Figure, Gauge, HealthBadge, OpenDecisions, counted
from sorbus.ops.monitoring.flow_state import FLOW_LABELS, FlowState
from sorbus.ops.monitoring.from_state import FromState
from sorbus.state import State


@dataclass(frozen=True, slots=True)
class DuplicateCounts(OpenDecisions):
    """Flow -> records that wait for a person to say whether the target has them."""

    records: Mapping[str, int] = field(default_factory=dict)

    def needs_person(self) -> int:
        return sum(self.records.values())

    def figure(self, flow: str | None = None) -> Figure:
        count = self.records.get(flow, 0) if flow else self.needs_person()
        return Figure("Possible duplicates", count, "warn", "/duplicates")

    def flow_badges(self, flow: str) -> Iterator[HealthBadge]:
        yield from counted("warn", self.records.get(flow, 0), "possible duplicate")

    def lines(self) -> Iterator[str]:
        for flow, count in self.records.items():
            if count:
                yield f"{flow}: {count:,} may be there already: sorbus duplicates list"

    def as_json(self) -> dict[str, JsonValue]:
        return {"duplicates": dict(self.records)}

    def metrics(self, flows: Sequence[FlowState], at: float) -> Iterator[Gauge]:
        yield Gauge(
            "sorbus_duplicates_open",
            "Records that wait for a person to say whether the target has them.",
            FLOW_LABELS,
            [(flow.labels, self.records[flow.flow]) for flow in flows if flow.flow in self.records],
        )


def duplicate_counts(company: Map) -> FromState[DuplicateCounts]:
    """Open candidates, 0 where there are none. A map without targets that are matched isn't asked for."""
    matched = {name for name, system in company.systems.items() if system.kind in ("http", "ldap")}
    flows = {flow.id: (flow.to, flow.data_type) for flow in company.flows if flow.runs and flow.to in matched}

    def ask(state: State) -> DuplicateCounts:
        counts = Candidates(state).counts()
        return DuplicateCounts({flow: counts.get(of, 0) for flow, of in flows.items()})

    return FromState(company.topic_prefix, ask, DuplicateCounts(), "how many duplicates wait", is_asked=bool(flows))
