"""How many records of each flow differ from their owner's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import JsonValue

from sorbus.mapfile.model import Map
from sorbus.ops.decisions.open_decisions import Figure, Gauge, HealthBadge, OpenDecisions, counted
from sorbus.ops.monitoring.flow_state import FLOW_LABELS, FlowState
from sorbus.ops.monitoring.from_state import FromState
from sorbus.ops.reconcile.finding import DifferenceKind
from sorbus.ops.reconcile.store import LastRun, ReconcileStore
from sorbus.state import State

KINDS: tuple[DifferenceKind, ...] = ("missing", "extra", "different", "stale", "unread")


@dataclass(frozen=True, slots=True)
class DifferenceCounts(OpenDecisions):
    """(Flow, kind) -> records that differ, and when each flow was last compared."""

    records: Mapping[tuple[str, DifferenceKind], int] = field(default_factory=dict)
    runs: Mapping[str, LastRun] = field(default_factory=dict)

    def needs_person(self) -> int:
        return self._count(None)

    def figure(self, flow: str | None = None) -> Figure:
        return Figure("Different from owner", self._count(flow), "bad", "/differences")

    def flow_badges(self, flow: str) -> Iterator[HealthBadge]:
        yield from counted("bad", self._count(flow), "record", " differing")

    def complaints(self) -> Iterator[str]:
        for flow in dict.fromkeys(flow for flow, _ in self.records):
            count = self._count(flow)
            yield f"{flow}: {count:,} record{'s differ' if count != 1 else ' differs'} from the owner's"

    def lines(self) -> Iterator[str]:
        for flow in dict.fromkeys(flow for flow, _ in self.records):
            yield f"{flow}: {self._count(flow):,} differ from the owner's: sorbus reconcile {flow} --stored"

    def as_json(self) -> dict[str, JsonValue]:
        found = sorted(self.records.items())
        return {"differences": [{"flow": flow, "kind": kind, "records": count} for (flow, kind), count in found]}

    def metrics(self, flows: Sequence[FlowState], at: float) -> Iterator[Gauge]:
        compared = [flow for flow in flows if flow.flow in self.runs]
        yield Gauge(
            "sorbus_drift_records",
            "Records on which target and owner disagree, by the last reconciliation.",
            (*FLOW_LABELS, "kind"),
            [((*flow.labels, kind), self.records.get((flow.flow, kind), 0)) for flow in compared for kind in KINDS],
        )
        yield Gauge(
            "sorbus_reconciled_timestamp_seconds",
            "When target and owner were last compared.",
            FLOW_LABELS,
            [(flow.labels, self.runs[flow.flow].at.timestamp()) for flow in compared],
        )
        covered = [(flow, run) for flow in compared if (run := self.runs[flow.flow].coverage) is not None]
        yield Gauge(
            "sorbus_reconcile_coverage_ratio",
            "Share of a flow's records that comparisons have looked at, now or earlier.",
            FLOW_LABELS,
            [(flow.labels, run.looked_at / run.records if run.records else 1.0) for flow, run in covered],
        )
        yield Gauge(
            "sorbus_reconcile_oldest_look_timestamp_seconds",
            "When the record was compared that was compared the longest ago.",
            FLOW_LABELS,
            [(flow.labels, run.oldest.timestamp()) for flow, run in covered if run.oldest is not None],
        )

    def _count(self, flow: str | None) -> int:
        return sum(count for (name, _), count in self.records.items() if flow in (None, name))


def difference_counts(company: Map, *, has_state: bool) -> FromState[DifferenceCounts]:
    """How many records of each flow are known to differ."""

    def ask(state: State) -> DifferenceCounts:
        store = ReconcileStore(state)
        return DifferenceCounts(store.open_counts(), store.last_runs())

    return FromState(company.topic_prefix, ask, DifferenceCounts(), "what differs from its owner", is_asked=has_state)
