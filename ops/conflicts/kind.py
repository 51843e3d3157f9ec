"""Conflicts as a kind of decision: fields that people changed in a system that doesn't own them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from pydantic import JsonValue
from pydantic_core import to_jsonable_python

from sorbus.conflict.store import ALL, Conflict, Conflicts
from sorbus.identity.crosswalk import place
from sorbus.mapfile.model import Map
from sorbus.ops.conflicts.counts import ConflictCounts, conflict_counts
from sorbus.ops.decisions.kind import ConsolePages, DecisionKind
from sorbus.ops.digest.items import DigestItem, DigestRequest
from sorbus.ops.digest.recipient import Recipient
from sorbus.ops.monitoring.measure import Measurement
from sorbus.ops.trace.moment import Moment
from sorbus.ops.trace.record import TracedRecord
from sorbus.state.database import State

_MOST = 1000


class ConflictKind(DecisionKind):
    """What people decide about conflicts: which value wins."""

    name, item, counts = "conflicts", "conflict", ConflictCounts
    has_own_audit = True

    def measure(self, company: Map, *, has_state: bool) -> Callable[[Measurement], ConflictCounts]:
        return conflict_counts(company).unless_away

    def pages(self) -> ConsolePages:
        from sorbus.ops.conflicts.pages import routes

        return ConsolePages("Conflicts", "/conflicts", routes, Path(__file__).parent / "templates", "/conflicts/")

    def digest(self, request: DigestRequest) -> ConflictDigest:
        return ConflictDigest(request.measured.of(ConflictCounts))

    def trace(self, record: TracedRecord, state: State) -> Iterator[Moment]:
        from sorbus.ops.conflicts.masking import ConflictMask

        mask = ConflictMask(record.loaded)
        for found in Conflicts(state, None, record.data_type).page(ALL, id=record.id, most=_MOST):
            one: Conflict = found if record.show_personal else mask(found)
            where, subject = place(one.system, one.resource), str(one.number)
            what = f"{one.field} was changed by hand in {one.external_id}; its owner has another value ({one.state})"
            changes = {one.field: _plain([one.theirs, one.ours])}
            yield Moment(one.found_at, self.item, where, what, changes, subject, one.state == "open")
            if one.decided_at is not None and one.decided_by not in (None, "sorbus"):
                reason = f" ({one.reason})" if one.reason else ""
                yield Moment(one.decided_at, self.item, where, f"{one.decided_by} decided{reason}", subject=subject)


@dataclass(frozen=True, slots=True)
class ConflictDigest:
    """Conflicts by flow and state, for who owns the target."""

    counts: ConflictCounts
    title: str = "Conflicts"

    def items(self, recipient: Recipient) -> Iterator[DigestItem]:
        for flow, one in self.counts.loops:
            if recipient.owns_target(flow):
                told = f"{flow}: {one.system} and {one.in_turn_with} change {one.field} in turn, without an end"
                words = f"{told}; {one.records:,} {'record is' if one.records == 1 else 'records are'} held"
                yield DigestItem(words, "/conflicts")
        for (flow, state), count in self.counts.fields.items():
            if count and recipient.owns_target(flow):
                is_open = state == "open"
                words = "need a decision" if is_open else "replaced by the owner's value"
                fields = "field" if count == 1 else "fields"
                page = f"/conflicts?{urlencode({'state': state})}"
                yield DigestItem(f"{flow}: {count:,} {fields} with two values, {words}", page, grave=is_open)


def _plain(value: object) -> JsonValue:
    made: JsonValue = to_jsonable_python(value, fallback=str)
    return made
