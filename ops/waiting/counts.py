"""How many records of each flow wait, and for what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import JsonValue

from sorbus.mapfile.model import Map
from sorbus.ops.decisions.open_decisions import Figure, Gauge, HealthBadge, OpenDecisions, counted
from sorbus.ops.monitoring.flow_state import FLOW_LABELS, FlowState
from sorbus.ops.monitoring.from_state import FromState
from sorbus.state import State
from sorbus.waiting.store import counts

WHYS = ("reference", "incomplete")


@dataclass(frozen=True, slots=True)
class WaitingCounts(OpenDecisions):
    """(Flow, why: reference or incomplete) -> records that can't be delivered yet, and since when the first can't.

    `since` in seconds since 1970.
    """

    records: Mapping[tuple[str, str], int] = field(default_factory=dict)
    since: Mapping[tuple[str, str], float] = field(default_factory=dict)

    def needs_person(self) -> int:
        return sum(count for (_, why), count in self.records.items() if why == "incomplete")

    def figure(self, flow: str | None = None) -> Figure:
        return Figure("Waiting" if flow else "Waiting records", self._count(flow), "warn", "/waiting")

    def flow_badges(self, flow: str) -> Iterator[HealthBadge]:
        yield from counted("warn", self._count(flow), "record", " waiting")

    def lines(self) -> Iterator[str]:
        for (flow, why), count in self.records.items():
            if count:
                cause = "which lack something" if why == "incomplete" else "each for another record"
                yield f"{flow}: {count:,} wait, {cause}: sorbus waiting list --flow {flow}"

    def as_json(self) -> dict[str, JsonValue]:
        found = sorted(self.records.items())
        return {"waiting": [{"flow": flow, "why": why, "records": count} for (flow, why), count in found]}

    def metrics(self, flows: Sequence[FlowState], at: float) -> Iterator[Gauge]:
        yield Gauge(
            "sorbus_records_waiting",
            "Records that can't be delivered yet.",
            (*FLOW_LABELS, "why"),
            [
                ((*flow.labels, why), count)
                for flow in flows
                for (name, why), count in self.records.items()
                if name == flow.flow
            ],
        )
        yield Gauge(
            "sorbus_records_waiting_oldest_seconds",
            "How long the first of them has waited; 0 where none waits.",
            (*FLOW_LABELS, "why"),
            [
                ((*flow.labels, why), max(0.0, at - self.since.get((name, why), at)))
                for flow in flows
                for name, why in self.records
                if name == flow.flow
            ],
        )

    def _count(self, flow: str | None) -> int:
        return sum(count for (of, _), count in self.records.items() if flow in (None, of))


def waiting_counts(company: Map, *, has_state: bool) -> FromState[WaitingCounts]:
    """How many wait, 0 where none does."""
    flows = [flow.id for flow in company.flows if flow.runs]

    def ask(state: State) -> WaitingCounts:
        found = counts(state)
        records = dict.fromkeys(((flow, why) for flow in flows for why in WHYS), 0)
        there = {of: deferred for of, deferred in found.items() if of in records}
        return WaitingCounts(
            records | {of: deferred.records for of, deferred in there.items()},
            {of: deferred.since.timestamp() for of, deferred in there.items()},
        )

    return FromState(company.topic_prefix, ask, WaitingCounts(), "which records wait", is_asked=has_state)
