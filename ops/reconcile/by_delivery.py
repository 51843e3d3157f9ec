"""Comparing a target that computes no checksums: by what delivering each record would change there, twice."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from sorbus.bus.names import Names
from sorbus.checksums import SupportsOwnerChecksums, SupportsTargetChecksums
from sorbus.conflict.store import KEPT
from sorbus.connector import BoundFlow, BoundSystem
from sorbus.dry_run import DryRunReads, ListReading, SupportsDryRun, WriteOnly
from sorbus.errors import BudgetSpent, RateLimited, UsageError
from sorbus.map.loaded import LoadedMap
from sorbus.ops.flow_plan.plan import PlannedRecord, Planner
from sorbus.ops.flow_plan.records import NewestEvents, RecordBatch, TopicRecords, delete_of
from sorbus.ops.reconcile.barrier import FlowBarrier
from sorbus.ops.reconcile.by_checksums import Progress
from sorbus.ops.reconcile.changed import topic_ends
from sorbus.ops.reconcile.finding import (
    MOST_SHOWN,
    Behind,
    DifferenceKind,
    FieldDifference,
    ReconcileReport,
    RecordDifference,
)
from sorbus.ops.reconcile.reasons import Reasons
from sorbus.ops.reconcile.request_budget import RequestBudget
from sorbus.ops.reconcile.rolling_sample import RollingSample
from sorbus.ops.reconcile.run import ReconcileRequest, Reconciliation
from sorbus.ops.reconcile.store import ReconcileStore
from sorbus.settings import Settings
from sorbus.state.database import State
from sorbus.waiting.complete import consumer_of

_KINDS: dict[str, DifferenceKind] = {"create": "missing", "link": "missing", "update": "different", "delete": "extra"}
_AGREE = ("nothing", "filter")
_AT_ONCE = 20
_MOST_HELD = 20_000
"""Records of a sample that are compared at once, and that are held in memory."""


class Comparison(Protocol):
    """One reconciliation of one flow, whatever the way."""

    flow: BoundFlow
    owner: BoundSystem

    def run(self) -> ReconcileReport:
        """Compares, and keeps the result. TransientError, AuthError, MapError, UsageError."""


def reconciliation(loaded: LoadedMap, request: ReconcileRequest, settings: Settings, progress: Progress) -> Comparison:
    """By checksums where owner and target compute them, else by dry runs of the delivery. UsageError if neither can be.

    A flow with a condition is compared by dry runs: databases can't evaluate it.
    """
    flow = loaded.flow(request.flow).flow
    kind = loaded.consumer(flow.to)
    owner: object = loaded.producer(loaded.map.owner_of(flow.data_type))
    has_checksums = (
        isinstance(kind, SupportsTargetChecksums) and isinstance(owner, SupportsOwnerChecksums) and flow.where is None
    )
    if not has_checksums and isinstance(kind, SupportsDryRun):
        return DeliveryReconciliation(loaded, request, settings, progress)
    return Reconciliation(loaded, request, settings, progress)


class DeliveryReconciliation:
    """Compares the topic with the target, by dry runs of the delivery, without a writing request.

    The first reads the target's list, or each record alone; within a day's budget that the list exceeds, it looks at
    the next part of the records. What differs is asked for alone in the second, once the flow has delivered.
    """

    def __init__(self, loaded: LoadedMap, request: ReconcileRequest, settings: Settings, progress: Progress) -> None:
        """UsageError for what can't be asked of such a target."""
        if request.only_changed:
            raise UsageError(f"{request.flow} is compared as a whole only: leave --changed out")
        self._loaded, self._request, self._settings, self._progress = loaded, request, settings, progress
        self.flow = loaded.flow(request.flow)
        self.owner = loaded.system(loaded.map.owner_of(self.flow.flow.data_type))
        self._state = State.of(loaded.map.topic_prefix)
        name = self.flow.flow.id
        a_day = None if request.ignores_budget else self.flow.flow.reconcile.requests_a_day
        self._budget = RequestBudget(self._state, name, a_day)
        self._sample = RollingSample(self._state, name)
        self._topic = TopicRecords(settings, self.flow, progress)

    def run(self) -> ReconcileReport:
        """See `Comparison`. Where the budget or the rate limit ends it, the report says how far it came."""
        report = ReconcileReport(self.flow.flow.id, "topic", datetime.now(UTC))
        offsets = topic_ends(self._settings, Names(self._loaded.map.topic_prefix).topic(self.flow.flow.data_type))
        found = FirstPass(self._topic.newest())
        left = self._budget.left
        if left == 0:
            report.method, found.stopped = "sample", self._budget.sentence
        else:
            self._compare(found, left, report)
        settled = self._settle(found, report)
        self._say(found, settled, report)
        report.finished_at = datetime.now(UTC)
        ReconcileStore(self._state).put(report, offsets, among=None if found.is_whole else settled)
        return report

    def _compare(self, found: FirstPass, left: int | None, report: ReconcileReport) -> None:
        """The first look at each record."""
        planner = self._planner()
        most = None if left is None else left // 2  # the rest is for what differs
        reads = self._reads(most_requests=most)._replace(reads_list=True)
        try:
            for record in planner.run(self._batches(planner, found, left), reads=reads):
                found.seen(record)
        except (BudgetSpent, RateLimited) as error:
            found.stopped = str(error)
        found.listed = planner.listed
        report.method = "list" if planner.listed else "topic" if found.is_all else "sample"

    def _batches(self, planner: Planner, found: FirstPass, left: int | None) -> Iterator[RecordBatch]:
        """All records of the topic, or as many of the sample's next ones as requests are left for."""
        newest = found.newest
        if planner.listed is None and left is not None and left < len(newest.versions):
            yield from self._part(found, left)
            return
        found.is_all = True
        yield RecordBatch([], list(newest.unread.items()))
        yield from self._topic.among(newest, newest.versions)
        if planner.listed is not None:
            ours = [id for id in planner.listed_links() if not newest.holds(id)]
            if planner.listed.why_short:
                found.unproven = len(ours)
            else:
                yield RecordBatch([delete_of(self.flow, id.encode()) for id in ours], [])

    def _part(self, found: FirstPass, left: int) -> Iterator[RecordBatch]:
        order = self._sample.order(found.newest.versions)[: min(left, _MOST_HELD)]
        events = {one.id: one for batch in self._topic.among(found.newest, order) for one in batch.deliveries}
        at = 0
        while at < len(order):
            # Each record that differs needs one more request, in the second look.
            size = min(_AT_ONCE, ((self._budget.left or 0) - len(found.suspects)) // 2)
            if size <= 0 and found.order:
                break
            size = max(1, size)
            part = order[at : at + size]
            found.order += part
            yield RecordBatch([events[id] for id in part if id in events], [])
            at += size

    def _settle(self, found: FirstPass, report: ReconcileReport) -> set[str]:
        """Looks again at what differs, and adds what still does; the ids of all that are decided."""
        settled = found.equal
        report.compared = len(found.equal) + len(found.suspects)
        if not found.suspects:
            return settled
        with ExitStack() as stack:
            barrier = stack.enter_context(closing(FlowBarrier(self.flow, self.owner, None, self._settings)))
            behind = barrier.pass_now(self._request.wait)
        reasons = Reasons(self.flow, self.owner.name, self._settings, self._state)
        left = dict(found.suspects)
        try:
            for record in self._planner().run(self._again(left), reads=self._reads()):
                left.pop(record.id, None)
                settled.add(record.id)
                if record.action in _AGREE:
                    report.in_flight += 1
                else:
                    report.add(reasons.explain(_difference(record, behind)))
                    if len(report.would) < MOST_SHOWN:
                        report.would[record.id] = record.action
        except (BudgetSpent, RateLimited) as error:
            found.stopped = str(error)
        report.undecided = len(left)
        return settled

    def _again(self, ids: Collection[str]) -> Iterator[RecordBatch]:
        newest = self._topic.newest()
        yield RecordBatch([], [(id, error) for id, error in newest.unread.items() if id in ids])
        encoded = [id.encode("utf-8", "replace") for id in ids]
        yield from self._topic.among(newest, encoded)
        yield RecordBatch([delete_of(self.flow, id.encode()) for id in ids if not newest.knows(id)], [])

    def _say(self, found: FirstPass, settled: Collection[str], report: ReconcileReport) -> None:
        """Says what was compared, and what was not."""
        newest, target = found.newest, self.flow.system.name
        live = newest.versions.keys() - newest.deleted
        if found.kept:
            report.not_compared.append(
                f"fields of {found.kept:,} record{'s' * (found.kept != 1)} that people keep as {target} has them:"
                " sorbus conflicts list --state decided"
            )
        report.owner_records = len(live) + len(newest.unread)
        report.rows_fetched = report.compared
        if isinstance(self._loaded.consumer(target), WriteOnly):
            report.from_topic.append(f"the versions that {target} accepted")
            report.not_compared.append(f"what {target} has: it can't be asked")
        else:
            report.not_compared += self._planner().uncompared()
            report.from_topic.append(f"every field, as {self.owner.name}'s producer has published it")
        if found.is_whole:
            whole = self._sample.order(newest.versions)
            self._sample.looked_at(whole, report.started_at, are_all=True)
        elif not found.is_all:
            ends = next((at for at, id in enumerate(found.order) if _text_of(id) not in settled), len(found.order))
            part = found.order[:ends]
            self._sample.looked_at(part, report.started_at, are_all=len(part) == len(newest.versions))
        cost = self._budget.taken / report.compared if report.compared and not found.listed else 1.0
        report.coverage = self._sample.coverage(live, a_day=self._budget.a_day, cost=cost)
        if found.stopped:
            report.not_compared.append(found.stopped)
        if found.listed is None:
            report.not_compared.append(
                f"records that only {target} has, unless the topic still holds their delete: its list was not read"
            )
            return
        report.target_records = found.listed.records
        if found.listed.why_short:
            others = f" ({found.unproven:,} may be)" if found.unproven else ""
            report.not_compared.append(
                f"records that only {target} has{others}: its list isn't whole, {found.listed.why_short}"
            )
        elif self.flow.flow.deletes == "ignore":
            report.not_compared.append(f"records that only {target} has: the flow ignores deletes")
        if found.listed.unlinked:
            report.not_compared.append(
                f"{found.listed.unlinked:,} records of {target} that Sorbus has neither made nor linked"
            )

    def _reads(self, *, most_requests: int | None = None) -> DryRunReads:
        """Within a budget nothing is searched for: a record takes a request at most."""
        return DryRunReads(
            searches=self._budget.a_day is None, most_requests=most_requests, before_request=self._budget.take
        )

    def _planner(self) -> Planner:
        target = consumer_of(self._loaded.consumer(self.flow.flow.to), self.flow)
        return Planner(self.flow, target, hide=True)


@dataclass(slots=True)
class FirstPass:
    """What the first look found. `order`: the sample's records that it was given, `is_all`: it was given all."""

    newest: NewestEvents
    order: list[bytes] = field(default_factory=list)
    equal: set[str] = field(default_factory=set)
    suspects: dict[str, None] = field(default_factory=dict)
    listed: ListReading | None = None
    unproven: int = 0
    """Records that only the target may have, on a list that isn't whole."""
    is_all: bool = False
    kept: int = 0
    """Records whose differences people have decided to keep."""
    stopped: str = ""
    """What ended it early."""

    @property
    def is_whole(self) -> bool:
        """Whether every record was looked at."""
        return self.is_all and not self.stopped

    def seen(self, record: PlannedRecord) -> None:
        """Takes what the dry run says of a record."""
        if record.action in _AGREE:
            self.equal.add(record.id)
            self.kept += record.action == "nothing" and record.why.startswith(KEPT)
        else:
            self.suspects[record.id] = None


def _difference(record: PlannedRecord, behind: Behind | None) -> RecordDifference:
    """A record that can't be delivered, or isn't yet, is stale."""
    if record.action == "unread":
        return RecordDifference(record.id, "unread", (), record.why, "unreadable")
    kind = "stale" if behind is not None else _KINDS.get(record.action, "stale")
    fields = []
    for name, value in record.changes.items() if kind == "different" else ():
        theirs, ours = value if isinstance(value, list) and len(value) == 2 else (None, value)
        fields.append(FieldDifference(name, _text(ours), _text(theirs)))
    if behind is not None:
        return RecordDifference(record.id, kind, fields, behind.sentence, behind.cause)
    if kind == "stale":
        return RecordDifference(record.id, kind, fields, record.why, "undeliverable")
    return RecordDifference(record.id, kind, fields, record.why if kind == "missing" else "")


def _text_of(id: bytes) -> str:
    return id.decode(errors="replace")


def _text(value: object) -> str | None:
    return value if isinstance(value, str) or value is None else json.dumps(value, ensure_ascii=False)
