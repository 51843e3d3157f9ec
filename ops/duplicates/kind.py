"""Possible duplicates as a kind of decision: records that may already exist in a target."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sorbus.identity.candidates import Candidates, DuplicateCandidate
from sorbus.mapfile.model import Map
from sorbus.ops.decisions.kind import ConsolePages, DecisionKind
from sorbus.ops.digest.items import DigestItem, DigestRequest
from sorbus.ops.digest.recipient import Recipient
from sorbus.ops.duplicates.counts import DuplicateCounts, duplicate_counts
from sorbus.ops.duplicates.masking import masked_candidate
from sorbus.ops.monitoring.measure import Measurement
from sorbus.ops.trace.moment import Moment
from sorbus.ops.trace.record import TracedRecord
from sorbus.state.database import State


class DuplicateKind(DecisionKind):
    """What people decide about possible duplicates: link, create or merge."""

    name, item, counts = "duplicates", "duplicate", DuplicateCounts
    has_own_audit = True

    def measure(self, company: Map, *, has_state: bool) -> Callable[[Measurement], DuplicateCounts]:
        return duplicate_counts(company).unless_away

    def pages(self) -> ConsolePages:
        from sorbus.ops.duplicates.pages import routes

        return ConsolePages("Duplicates", "/duplicates", routes, Path(__file__).parent / "templates", "/duplicates/")

    def digest(self, request: DigestRequest) -> DuplicateDigest:
        return DuplicateDigest(request.measured.of(DuplicateCounts))

    def trace(self, record: TracedRecord, state: State) -> Iterator[Moment]:
        candidates = Candidates(state, None, record.data_type)
        for found in candidates.of_record(record.id):
            one: DuplicateCandidate = found if record.show_personal else masked_candidate(record.loaded, found)
            subject = str(one.number)
            maybe = ", ".join(doubt.external_id for doubt in one.doubts)
            what = f"may be there already{f' as {maybe}' if maybe else ''}: {one.why}"
            yield Moment(one.found_at, self.item, one.place, what, {}, subject, one.state == "open")
            for entry in candidates.audit(one.number):
                reason = f" ({entry.reason})" if entry.reason else ""
                decided = f"{entry.who}: {entry.what} {entry.external_id or ''}".rstrip()
                yield Moment(entry.at, self.item, one.place, f"{decided}{reason}", subject=subject)


@dataclass(frozen=True, slots=True)
class DuplicateDigest:
    """Possible duplicates by flow, for who owns the target."""

    counts: DuplicateCounts
    title: str = "Possible duplicates"

    def items(self, recipient: Recipient) -> Iterator[DigestItem]:
        for flow, count in self.counts.records.items():
            if count and recipient.owns_target(flow):
                need = "record may exist already, and needs" if count == 1 else "records may exist already, and need"
                yield DigestItem(f"{flow}: {count:,} {need} a decision", "/duplicates")
