"""Comparing a target that computes no checksums: by what delivering each record would change there, twice."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from typing import Protocol

from sorbus.abilities import SupportsDryRun
from sorbus.bus.names import Names
from sorbus.checksums import SupportsTargetChecksums
from sorbus.connector import BoundFlow, BoundSystem
from sorbus.errors import UsageError
from sorbus.map.loaded import LoadedMap
from sorbus.ops.flow_plan.plan import PlannedRecord, Planner
from sorbus.ops.flow_plan.records import RecordBatch, TopicRecords
from sorbus.ops.reconcile.barrier import FlowBarrier
from sorbus.ops.reconcile.by_checksums import Progress
from sorbus.ops.reconcile.changed import topic_ends
from sorbus.ops.reconcile.finding import Behind, DifferenceKind, FieldDifference, ReconcileReport, RecordDifference
from sorbus.ops.reconcile.reasons import Reasons
from sorbus.ops.reconcile.run import ReconcileRequest, Reconciliation
from sorbus.ops.reconcile.store import ReconcileStore
from sorbus.settings import Settings
from sorbus.state.database import State
from sorbus.waiting.complete import consumer_of

_KINDS: dict[str, DifferenceKind] = {"create": "missing", "link": "missing", "update": "different", "delete": "extra"}
_AGREE = ("nothing", "filter")


class Comparison(Protocol):
    """One reconciliation of one flow, whatever the way."""

    flow: BoundFlow
    owner: BoundSystem

    def run(self) -> ReconcileReport:
        """Compares, and keeps the result. TransientError, AuthError, MapError, UsageError."""


def reconciliation(loaded: LoadedMap, request: ReconcileRequest, settings: Settings, progress: Progress) -> Comparison:
    """By checksums where the target computes them, else by dry runs of the delivery. UsageError if neither can be.

    A flow with a condition is compared by dry runs: databases can't evaluate it.
    """
    flow = loaded.flow(request.flow).flow
    kind = loaded.consumer(flow.to)
    has_checksums = isinstance(kind, SupportsTargetChecksums) and flow.where is None
    if not has_checksums and isinstance(kind, SupportsDryRun):
        return DeliveryReconciliation(loaded, request, settings, progress)
    return Reconciliation(loaded, request, settings, progress)


class DeliveryReconciliation:
    """Compares the topic with the target: a dry run over its list, and over each record that differs, alone."""

    def __init__(self, loaded: LoadedMap, request: ReconcileRequest, settings: Settings, progress: Progress) -> None:
        """UsageError for what can't be asked of such a target."""
        if request.only_changed:
            raise UsageError(f"{request.flow} is compared as a whole only: leave --changed out")
        self._loaded, self._request, self._settings, self._progress = loaded, request, settings, progress
        self.flow = loaded.flow(request.flow)
        self.owner = loaded.system(loaded.map.owner_of(self.flow.flow.data_type))
        self._state = State.of(loaded.map.topic_prefix)

    def run(self) -> ReconcileReport:
        """See `Comparison`. What only the target has is found where the topic still holds its delete."""
        report = ReconcileReport(self.flow.flow.id, "topic", datetime.now(UTC))
        topic = Names(self._loaded.map.topic_prefix).topic(self.flow.flow.data_type)
        offsets = topic_ends(self._settings, topic)
        planner = self._planner()
        suspects: set[str] = set()
        for record in planner.run(self._records(), reads_list=True):
            report.compared += 1
            if record.action not in _AGREE:
                suspects.add(record.id)
        report.method = "list" if planner.has_list else "topic"
        report.rows_fetched = report.compared
        report.from_topic.append(f"every field, as {self.owner.name}'s producer has published it")
        report.not_compared.append(
            f"records that only {self.flow.system.name} has, unless the topic still holds their delete"
        )
        if suspects:
            self._look_again(suspects, report)
        report.finished_at = datetime.now(UTC)
        ReconcileStore(self._state).put(report, offsets)
        return report

    def _look_again(self, suspects: Collection[str], report: ReconcileReport) -> None:
        """Compares these alone, once the flow has delivered what was published, and adds what still differs."""
        with ExitStack() as stack:
            barrier = stack.enter_context(closing(FlowBarrier(self.flow, self.owner, None, self._settings)))
            behind = barrier.pass_now(self._request.wait)
        reasons = Reasons(self.flow, self.owner.name, self._settings, self._state)
        for record in self._planner().run(_among(self._records(), suspects)):
            if record.action in _AGREE:
                report.in_flight += 1
            else:
                report.add(reasons.explain(_difference(record, behind)))

    def _planner(self) -> Planner:
        target = consumer_of(self._loaded.consumer(self.flow.flow.to), self.flow)
        return Planner(self.flow, target, hide=True)

    def _records(self) -> Iterator[RecordBatch]:
        return iter(TopicRecords(self._settings, self.flow, self._progress))


def _among(batches: Iterable[RecordBatch], ids: Collection[str]) -> Iterator[RecordBatch]:
    for batch in batches:
        yield RecordBatch(
            [one for one in batch.deliveries if one.id.decode(errors="replace") in ids],
            [(id, error) for id, error in batch.refused if id in ids],
        )


def _difference(record: PlannedRecord, behind: Behind | None) -> RecordDifference:
    """A record that can't be delivered, or isn't yet, is stale."""
    kind = "stale" if behind is not None else _KINDS.get(record.action, "stale")
    fields = []
    for name, value in record.changes.items() if kind == "different" else ():
        theirs, ours = value if isinstance(value, list) and len(value) == 2 else (None, value)
        fields.append(FieldDifference(name, _text(ours), _text(theirs)))
    if behind is not None:
        return RecordDifference(record.id, kind, fields, behind.sentence, behind.cause)
    if kind == "stale":
        return RecordDifference(record.id, kind, fields, record.why, "undeliverable")
    return RecordDifference(record.id, kind, fields)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) or value is None else json.dumps(value, ensure_ascii=False)
