"""Deferred records as a kind of decision: people fill in what incomplete ones lack."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from sorbus.mapfile.model import Map
from sorbus.ops.decisions.kind import ConsolePages, DecisionKind
from sorbus.ops.digest.items import DigestItem, DigestRequest
from sorbus.ops.digest.recipient import Recipient
from sorbus.ops.monitoring.measure import Measurement
from sorbus.ops.trace.moment import Moment
from sorbus.ops.trace.record import TracedRecord
from sorbus.ops.waiting.counts import WaitingCounts, waiting_counts
from sorbus.state.database import State
from sorbus.waiting.store import Missing, missing, waiting_of


class WaitingKind(DecisionKind):
    """Records that can't be delivered yet."""

    name, item, counts = "waiting", "waiting", WaitingCounts

    def measure(self, company: Map, *, has_state: bool) -> Callable[[Measurement], WaitingCounts]:
        return waiting_counts(company, has_state=has_state).unless_away

    def pages(self) -> ConsolePages:
        from sorbus.ops.waiting.pages import routes

        return ConsolePages("Waiting records", "/waiting", routes, Path(__file__).parent / "templates")

    def digest(self, request: DigestRequest) -> WaitingDigest:
        return WaitingDigest(request.company, tuple(missing(request.state)))

    def trace(self, record: TracedRecord, state: State) -> Iterator[Moment]:
        for one in waiting_of(state, record.data_type, record.id):
            until = f" (until {one.until.astimezone():%Y-%m-%d %H:%M})" if one.until else ""
            yield Moment(one.since, self.item, one.flow, f"waits with version {one.version}: {one.message}{until}")


@dataclass(frozen=True, slots=True)
class WaitingDigest:
    """Which fields records lack, for who owns the data or the target."""

    company: Map
    missing: tuple[Missing, ...]
    title: str = "Incomplete records"

    def items(self, recipient: Recipient) -> Iterator[DigestItem]:
        flows = {flow.id: flow for flow in self.company.flows}
        for one in self.missing:
            flow = flows.get(one.flow)
            if flow and (recipient.owns_data_type(flow.data_type) or recipient.owns(flow.to)):
                owner = self.company.data_types[flow.data_type].system_of_record
                lack = "records lack" if one.records != 1 else "record lacks"
                words = (
                    f"{one.records:,} {flow.data_type} {lack} {one.field}, which {flow.to} needs; add it in {owner}."
                    f" The oldest has waited since {one.since.astimezone():%Y-%m-%d %H:%M}"
                )
                yield DigestItem(words, f"/waiting?{urlencode({'flow': one.flow, 'why': 'incomplete'})}")
