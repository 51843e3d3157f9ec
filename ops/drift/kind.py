"""Drift as a kind of decision: sources that have changed their fields."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from sorbus.drift.store import DriftFinding, DriftStore
from sorbus.mapfile.model import Map
from sorbus.ops.decisions.kind import ConsolePages, DecisionKind
from sorbus.ops.digest.items import DigestItem, DigestRequest
from sorbus.ops.digest.recipient import Recipient
from sorbus.ops.drift.counts import DriftCounts, drift_counts
from sorbus.ops.monitoring.measure import Measurement
from sorbus.ops.trace.moment import Moment
from sorbus.ops.trace.record import TracedRecord
from sorbus.state.database import State


class DriftKind(DecisionKind):
    """What people decide about a source that has changed: fix the map, or settle the finding."""

    name, item, counts = "drift", "drift", DriftCounts
    is_about_records = False

    def measure(self, company: Map, *, has_state: bool) -> Callable[[Measurement], DriftCounts]:
        return drift_counts(company, has_state=has_state).unless_away

    def pages(self) -> ConsolePages:
        from sorbus.ops.drift.pages import routes

        return ConsolePages("Changed sources", "/drift", routes, Path(__file__).parent / "templates", "/drift/")

    def digest(self, request: DigestRequest) -> DriftDigest:
        return DriftDigest(tuple(DriftStore(request.state).findings()))

    def trace(self, record: TracedRecord, state: State) -> Iterator[Moment]:
        owner = record.loaded.map.owner_of(record.data_type)
        for one in DriftStore(state).findings(owner):
            if one.data_type == record.data_type and one.severity == "held":
                what = f"the source has changed: {one.words}; records that it touches are held"
                yield Moment(one.first_seen, self.item, one.system, what, subject=str(one.number))


@dataclass(frozen=True, slots=True)
class DriftDigest:
    """The open findings, for who owns the source."""

    findings: tuple[DriftFinding, ...]
    title: str = "Changed sources"

    def items(self, recipient: Recipient) -> Iterator[DigestItem]:
        for one in self.findings:
            if recipient.owns(one.system):
                held = "; records are on hold" if one.severity == "held" else ""
                words = f"{one.system}, {one.data_type}: {one.words}{held}"
                page = f"/drift?{urlencode({'system': one.system})}"
                yield DigestItem(words, page, grave=one.severity == "held")
