"""How many records of each flow differ from their owner's."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from pydantic import JsonValue

from sorbus.mapfile.model import Map
from sorbus.ops.decisions.open_decisions import Figure, Gauge, HealthBadge, OpenDecisions, counted
from sorbus.ops.monitoring.flow_state import FLOW_LABELS, FlowState
from sorbus.ops.monitoring.from_state import FromState
from sorbus.ops.reconcile.finding import DifferenceKind
from sorbus.ops.reconcile.store import LastRun, ReconcileStore
from sorbus.state import State
from sorbus.timing.schedule import Timing

_log = logging.getLogger(__name__)
LATEST = timedelta(hours=6)
"""How long after its time a scheduled comparison may begin, or take."""
KINDS: tuple[DifferenceKind, ...] = ("missing", "extra", "different", "stale", "unread")


class Missed(NamedTuple):
    """A scheduled comparison that did not come: when it was due, and when the last one began, if there was any."""

    due: datetime
    last: datetime | None

    def __str__(self) -> str:
        last = f"since {self.last.astimezone():%Y-%m-%d %H:%M %Z}" if self.last else "at any time"
        return f"not compared with its owner {last}, though it was due at {self.due.astimezone():%Y-%m-%d %H:%M %Z}"


@dataclass(frozen=True, slots=True)
class DifferenceCounts(OpenDecisions):
    """(Flow, kind) -> records that differ; when each flow was last compared; which comparisons were missed."""

    records: Mapping[tuple[str, DifferenceKind], int] = field(default_factory=dict)
    runs: Mapping[str, LastRun] = field(default_factory=dict)
    missed: Mapping[str, Missed | None] = field(default_factory=dict)
    """Flows with a schedule; None: it was kept."""

    def needs_person(self) -> int:
        return self._count(None)

    def figure(self, flow: str | None = None) -> Figure:
        return Figure("Different from owner", self._count(flow), "bad", "/differences")

    def flow_badges(self, flow: str) -> Iterator[HealthBadge]:
        yield from counted("bad", self._count(flow), "record", " differing")
        if missed := self.missed.get(flow):
            yield HealthBadge("warn", "comparison overdue", str(missed))

    def complaints(self) -> Iterator[str]:
        for flow in dict.fromkeys(flow for flow, _ in self.records):
            count = self._count(flow)
            yield f"{flow}: {count:,} record{'s differ' if count != 1 else ' differs'} from the owner's"
        for flow, missed in self.missed.items():
            if missed:
                yield f"{flow}: {missed}: see the log of `sorbus watch`, which does it, or run sorbus reconcile {flow}"

    def lines(self) -> Iterator[str]:
        for flow in dict.fromkeys(flow for flow, _ in self.records):
            yield f"{flow}: {self._count(flow):,} differ from the owner's: sorbus reconcile {flow} --stored"

    def as_json(self) -> dict[str, JsonValue]:
        found = sorted(self.records.items())
        missed: list[JsonValue] = [
            {"flow": flow, "due": one.due.timestamp(), "last": one.last.timestamp() if one.last else None}
            for flow, one in self.missed.items()
            if one
        ]
        counts: list[JsonValue] = [{"flow": flow, "kind": kind, "records": count} for (flow, kind), count in found]
        return {"differences": counts, "missed_comparisons": missed}

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
        yield Gauge(
            "sorbus_reconcile_overdue_seconds",
            "How long a scheduled comparison is overdue; 0 while none is.",
            FLOW_LABELS,
            [
                (flow.labels, max(0.0, at - missed.due.timestamp()) if (missed := self.missed[flow.flow]) else 0.0)
                for flow in flows
                if flow.flow in self.missed
            ],
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
    """How many records of each flow are known to differ, and which comparisons did not come.

    Of a flow that the map has no more nothing is compared, so that nobody could ever settle it.
    """
    timings, flows = dict(timings_of(company)), {flow.id for flow in company.flows if flow.runs}

    def ask(state: State) -> DifferenceCounts:
        store = ReconcileStore(state)
        compared = store.compared() if timings else {}
        missed = {flow: _missed(timing, *compared.get(flow, (None, False))) for flow, timing in timings.items()}
        differing = {(flow, kind): count for (flow, kind), count in store.open_counts().items() if flow in flows}
        return DifferenceCounts(differing, store.last_runs(), missed)

    return FromState(company.topic_prefix, ask, DifferenceCounts(), "what differs from its owner", is_asked=has_state)


def timings_of(company: Map) -> Iterator[tuple[str, Timing]]:
    """The flows with a schedule; one that can't be read is a finding of `map check`."""
    for flow in company.flows:
        if flow.runs and flow.reconcile.schedule is not None:
            try:
                yield flow.id, company.due(flow.reconcile.schedule)
            except ValueError as error:
                _log.error("a flow isn't reconciled", extra={"flow": flow.id, "reason": str(error)})


def _missed(timing: Timing, at: datetime | None, is_run: bool) -> Missed | None:
    """`at`: the last comparison, or when the flow first ran; nothing is due before that."""
    now = datetime.now(UTC)
    due = timing.last_until(now - LATEST)
    if due is None or at is None or timing.has_run(at, due, now):
        return None
    return Missed(due, at if is_run else None)
