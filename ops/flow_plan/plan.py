"""A flow's plan: what its delivery would do to each record, counted, with samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from pydantic import JsonValue

from sorbus.abilities import Preview
from sorbus.connector import BoundFlow, Consumer, Delivery
from sorbus.dry_run import DryRunReads, ListReading
from sorbus.errors import PermanentError
from sorbus.ops.flow_plan.records import RecordBatch, is_of_owner
from sorbus.privacy.preview import masked_fault, masked_preview
from sorbus.waiting.complete import Completing

WORDS: Mapping[str, str] = {
    "create": "created", "link": "linked", "update": "updated", "delete": "deleted", "nothing": "unchanged",
    "filter": "outside of where",
    "older": "newer in the target", "refuse": "refused", "hold": "held (incomplete)", "ask": "asked", "wait": "waiting",
    "unread": "unreadable in the target",
}  # fmt: skip
"""Each action as it is counted for people, in this order."""
NEEDS_PEOPLE = frozenset({"refuse", "hold", "ask", "wait", "unread"})
_ROUNDS = 20
_ALONE = DryRunReads()


class PlannedRecord(NamedTuple):
    """What delivering a record would do. `changes`: field -> [old, new]; `version` None: read from the owner."""

    id: str
    action: str
    why: str
    version: int | None
    changes: Mapping[str, JsonValue]


@dataclass(slots=True)
class FlowPlan:
    """The counts by action, those of changed fields (of updated and linked records), and a few records of each."""

    flow: str
    source: str
    counts: Counter[str] = field(default_factory=Counter)
    fields: Counter[str] = field(default_factory=Counter)
    samples: dict[str, list[PlannedRecord]] = field(default_factory=dict)
    is_cut: bool = False
    """Whether `--limit` left records out."""
    cut_short: str = ""
    """Why the owner's list lacks records that are there; "" where nothing shows that it does."""

    def add(self, record: PlannedRecord, most: int) -> None:
        """Counts it, and keeps it as a sample while there are fewer than `most`."""
        self.counts[record.action] += 1
        if record.action in ("update", "link"):
            self.fields.update(record.changes.keys())
        samples = self.samples.setdefault(record.action, [])
        if len(samples) < most:
            samples.append(record)


class Planner:
    """Runs one flow's delivery without effect. `hide`: personal values are masked."""

    def __init__(self, flow: BoundFlow, target: Consumer, *, hide: bool) -> None:
        self._flow, self._hide = flow, hide
        self.listed: ListReading | None = None
        """The target's list, where it was read."""
        # What completes records is left out only where the flow says on_incomplete: pass.
        self._target = target if isinstance(target, Completing) else Completing(target, flow)
        self._size = min(1000, getattr(target, "batch", 1000))

    def run(
        self, batches: Iterable[RecordBatch], *, limit: int | None = None, reads: DryRunReads = _ALONE
    ) -> Iterator[PlannedRecord]:
        """Every record once; those that wait for others are tried again when all have had their turn.

        `batches` is begun when the target has been opened, and its list read. TransientError, AuthError; SorbusError
        where the target's kind can't show what it would do.
        """
        self.listed = self._target.begin_dry_run(reads)
        try:
            yield from self._run(batches, limit)
        finally:
            self._target.close()

    def listed_links(self) -> Iterator[str]:
        """The owner's ids of the records that the list shows; meant for `batches`."""
        return self._target.listed_links()

    def uncompared(self) -> Iterator[str]:
        """Fields that it can't compare, a sentence each. MapError; asks nobody."""
        return self._target.uncompared()

    def _run(self, batches: Iterable[RecordBatch], limit: int | None) -> Iterator[PlannedRecord]:
        waiting: list[tuple[Delivery, Preview]] = []
        left = limit
        for batch in batches:
            if left is not None and left <= 0:
                break
            refused, deliveries = batch.refused[:left], batch.deliveries
            if left is not None:
                left -= len(refused)
                deliveries = deliveries[:left]
                left -= len(deliveries)
            yield from (self._refused(id, error) for id, error in refused)
            yield from self._pass(deliveries, waiting)
        for _ in range(_ROUNDS):
            again, waiting = waiting, []
            yield from self._pass([one for one, _ in again], waiting)
            if len(waiting) == len(again):
                break
        yield from (self._record(one, shown) for one, shown in waiting)

    def _pass(self, deliveries: Sequence[Delivery], waiting: list[tuple[Delivery, Preview]]) -> Iterator[PlannedRecord]:
        for at in range(0, len(deliveries), self._size):
            part = deliveries[at : at + self._size]
            for one, shown in zip(part, self._target.preview_all(part), strict=True):
                if shown.action == "wait":
                    waiting.append((one, shown))
                else:
                    yield self._record(one, shown)

    def _refused(self, id: str, error: PermanentError) -> PlannedRecord:
        told = Preview("refuse", str(error))
        if self._hide:
            event = Delivery(id.encode(), 0, True, self._flow.schema, b"", 0)
            told = Preview("refuse", str(masked_fault(error, self._flow, event)))
        return PlannedRecord(id, told.action, told.why, None, {})

    def _record(self, one: Delivery, shown: Preview) -> PlannedRecord:
        if self._hide and shown.action != "nothing":
            shown = masked_preview(shown, self._flow, one)
        request = shown.request if isinstance(shown.request, dict) else {}
        changes = request.get("changes")
        version = None if is_of_owner(one) else one.version
        found = changes if isinstance(changes, dict) else {}
        return PlannedRecord(one.id.decode(errors="replace"), shown.action, shown.why, version, found)
