"""Differences as a kind of decision: records on which a target disagrees with its owner."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from sorbus.map.loaded import LoadedMap
from sorbus.mapfile.model import Map
from sorbus.ops.decisions.kind import ConsolePages, DecisionKind
from sorbus.ops.digest.items import DigestItem, DigestRequest
from sorbus.ops.digest.recipient import Recipient
from sorbus.ops.monitoring.measure import Measurement
from sorbus.ops.reconcile.counts import DifferenceCounts, difference_counts
from sorbus.ops.reconcile.reasons import shown
from sorbus.ops.reconcile.store import ReconcileStore
from sorbus.ops.trace.moment import Moment
from sorbus.ops.trace.record import TracedRecord
from sorbus.settings import Settings
from sorbus.state.database import State


class ReconcileKind(DecisionKind):
    """What people decide about a record that differs: heal it, or fix what keeps it different."""

    name, item, counts = "reconcile", "difference", DifferenceCounts

    def measure(self, company: Map, *, has_state: bool) -> Callable[[Measurement], DifferenceCounts]:
        return difference_counts(company, has_state=has_state).unless_away

    def pages(self) -> ConsolePages:
        from sorbus.ops.reconcile.pages import routes

        return ConsolePages("Differences", "/differences", routes, Path(__file__).parent / "templates")

    def recurring(self, loaded: LoadedMap, settings: Settings) -> Callable[[], None] | None:
        from sorbus.drift.watch import has_state
        from sorbus.ops.reconcile.scheduled import ScheduledReconciliations

        return ScheduledReconciliations(loaded, settings).look if has_state(settings) else None

    def digest(self, request: DigestRequest) -> DifferenceDigest:
        counts: dict[str, int] = {}
        for (flow, _), count in ReconcileStore(request.state).open_counts().items():
            counts[flow] = counts.get(flow, 0) + count
        return DifferenceDigest(request.company, counts)

    def trace(self, record: TracedRecord, state: State) -> Iterator[Moment]:
        flows = {flow.id: flow for flow in record.loaded.map.flows if flow.data_type == record.data_type}
        for one in ReconcileStore(state).differences(id=record.id, closed=True):
            if one.flow not in flows:
                continue
            what = f"{one.kind}: {shown(one.fields)}" if one.fields else one.kind
            until = f"; equal again {one.closed_at.astimezone():%Y-%m-%d %H:%M}" if one.closed_at else ""
            yield Moment(one.first_seen, self.item, one.flow, f"{what}{until}")


@dataclass(frozen=True, slots=True)
class DifferenceDigest:
    """Open differences by flow, for who owns the data or the target."""

    company: Map
    counts: Mapping[str, int]
    title: str = "Differences"

    def items(self, recipient: Recipient) -> Iterator[DigestItem]:
        flows = {flow.id: flow for flow in self.company.flows}
        for name, count in self.counts.items():
            flow = flows.get(name)
            if flow and (recipient.owns_data_type(flow.data_type) or recipient.owns(flow.to)):
                owner = self.company.data_types[flow.data_type].system_of_record
                verb = "differ" if count != 1 else "differs"
                words = f"{count:,} {flow.data_type} {verb} between {owner} and {flow.to}"
                yield DigestItem(words, f"/differences?{urlencode({'flow': name})}", grave=True)
