"""How many fields of each flow have two values, since when, and which ones two systems change in turn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import JsonValue

from sorbus.abilities import DetectsConflicts
from sorbus.conflict.store import Conflicts, OpenField
from sorbus.connector import consumer_connector, known_kinds
from sorbus.mapfile.model import Map
from sorbus.ops.decisions.open_decisions import Figure, Gauge, HealthBadge, OpenDecisions, counted
from sorbus.ops.monitoring.flow_state import FLOW_LABELS, FlowState
from sorbus.ops.monitoring.from_state import FromState
from sorbus.state import State

STATES = ("open", "overwritten")


@dataclass(frozen=True, slots=True)
class ConflictCounts(OpenDecisions):
    """What waits for a person.

    `fields`: (flow, state: open or overwritten) -> fields that wait for a person, or were overwritten within a day.
    `oldest`: flow -> since when its oldest open conflict waits, in seconds since 1970. `loops`: (flow, field) for each
    field that two systems changed in turn until it was held.
    """

    fields: Mapping[tuple[str, str], int] = field(default_factory=dict)
    oldest: Mapping[str, float] = field(default_factory=dict)
    loops: Sequence[tuple[str, OpenField]] = ()

    def needs_person(self) -> int:
        return sum(count for (_, state), count in self.fields.items() if state == "open")

    def figure(self, flow: str | None = None) -> Figure | None:
        return None if flow else Figure("Conflicts", self.needs_person(), "warn", "/conflicts")

    def flow_badges(self, flow: str) -> Iterator[HealthBadge]:
        yield from counted("warn", self.fields.get((flow, "open"), 0), "conflict")
        yield from counted("bad", sum(one.records for name, one in self.loops if name == flow), "record", " in a loop")

    def complaints(self) -> Iterator[str]:
        for flow, one in self.loops:
            more = f" and {one.records - 1:,} more" if one.records > 1 else ""
            yield (
                f"{flow}: {one.field} of {one.data_type} {one.id}{more} is changed in turn by {one.system} and"
                f" {one.in_turn_with}; held until a person decides: sorbus conflicts list"
            )

    def lines(self) -> Iterator[str]:
        for (flow, state), count in self.fields.items():
            if count:
                what = "wait for a person" if state == "open" else "were overwritten within a day"
                yield f"{flow}: {count:,} fields with two values {what}: sorbus conflicts list"

    def as_json(self) -> dict[str, JsonValue]:
        found = sorted(self.fields.items())
        return {"conflicts": [{"flow": flow, "state": state, "fields": count} for (flow, state), count in found]}

    def metrics(self, flows: Sequence[FlowState], at: float) -> Iterator[Gauge]:
        yield Gauge(
            "sorbus_conflicts",
            "Fields that have another value in the target than at their owner: open, or overwritten within a day.",
            (*FLOW_LABELS, "state"),
            [
                ((*flow.labels, state), count)
                for flow in flows
                for (name, state), count in self.fields.items()
                if name == flow.flow
            ],
        )
        yield Gauge(
            "sorbus_conflict_oldest_seconds",
            "How long the oldest open conflict of a flow has waited for a person; 0: none.",
            FLOW_LABELS,
            [
                (flow.labels, max(0.0, at - self.oldest[flow.flow]) if flow.flow in self.oldest else 0.0)
                for flow in flows
                if (flow.flow, "open") in self.fields
            ],
        )
        yield Gauge(
            "sorbus_conflict_loops",
            "Records held because two systems (target and other) changed a field of theirs in turn, without an end.",
            (*FLOW_LABELS, "field", "other"),
            [
                ((*flow.labels, one.field, one.in_turn_with or ""), float(one.records))
                for flow in flows
                for name, one in self.loops
                if name == flow.flow
            ],
        )


def conflict_counts(company: Map) -> FromState[ConflictCounts]:
    """Open conflicts, and those overwritten within a day; 0 where there are none.

    A map without targets that are compared, and without two-way flows, isn't asked for.
    """
    known = known_kinds("sorbus.consumers")
    compared = {kind for kind in known if isinstance(consumer_connector(kind), DetectsConflicts)}
    targets = {name for name, system in company.systems.items() if system.kind in compared}
    flows = {
        flow.id: (flow.to, flow.data_type)
        for flow in company.flows
        if flow.runs and (flow.to in targets or flow.direction == "two-way")
    }

    def ask(state: State) -> ConflictCounts:
        counts, waiting = Conflicts(state).counts(), Conflicts(state).open_fields()
        places = {of: flow for flow, of in flows.items()}
        oldest: dict[str, float] = {}
        for one in waiting:
            if flow := places.get((one.system, one.data_type)):
                oldest[flow] = min(one.since, oldest.get(flow, one.since))
        return ConflictCounts(
            {(flow, each): counts.get((*of, each), 0) for flow, of in flows.items() for each in STATES},
            oldest,
            [(flow, one) for one in waiting if one.in_turn_with and (flow := places.get((one.system, one.data_type)))],
        )

    return FromState(company.topic_prefix, ask, ConflictCounts(), "how many conflicts there are", is_asked=bool(flows))
