"""One reconciliation of one flow: how it can be compared, comparing it, explaining and keeping what differs."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

from sorbus.bus.kafka import admin
from sorbus.bus.names import Names
from sorbus.checksums import (
    ComparedPart,
    SupportsMarks,
    SupportsOwnerChecksums,
    SupportsTargetChecksums,
    TargetChecksumReader,
)
from sorbus.connector import BoundFlow, BoundSource, BoundSystem
from sorbus.errors import UsageError
from sorbus.map.loaded import LoadedMap
from sorbus.ops.monitoring.offsets import ends, partitions_of
from sorbus.ops.reconcile.barrier import FlowBarrier
from sorbus.ops.reconcile.by_checksums import (
    Progress,
    Sides,
    Verdicts,
    compare_segments,
    decide,
    differing_records,
)
from sorbus.ops.reconcile.changed import changed_ids
from sorbus.ops.reconcile.finding import ReconcileReport
from sorbus.ops.reconcile.reasons import Reasons
from sorbus.ops.reconcile.store import ReconcileStore
from sorbus.settings import Settings
from sorbus.state.database import State


@dataclass(frozen=True, slots=True)
class ReconcileRequest:
    """What to reconcile. `only_changed`: the records with events since the last whole reconciliation, and open
    differences. `wait`: seconds that a change in flight may take to arrive.
    """

    flow: str
    only_changed: bool = False
    wait: float = 30.0


class Reconciliation:
    """Compares one flow of a map whose owner and target compute checksums."""

    def __init__(self, loaded: LoadedMap, request: ReconcileRequest, settings: Settings, progress: Progress) -> None:
        """UsageError where the flow can't be compared this way."""
        self._request, self._settings, self._progress = request, settings, progress
        self.flow: BoundFlow = loaded.flow(request.flow)
        data_type = self.flow.flow.data_type
        owner = loaded.map.owner_of(data_type)
        self.source: BoundSource = loaded.source(data_type)
        self.owner: BoundSystem = loaded.system(owner)
        self._producer, self._consumer = loaded.producer(owner), loaded.consumer(self.flow.flow.to)
        self._names = Names(loaded.map.topic_prefix)
        self._state = State.of(loaded.map.topic_prefix)

    @property
    def is_possible(self) -> bool:
        """Whether both systems compute checksums."""
        return (
            isinstance(self._producer, SupportsOwnerChecksums)
            and isinstance(self._producer, SupportsMarks)
            and isinstance(self._consumer, SupportsTargetChecksums)
        )

    def run(self) -> ReconcileReport:
        """Compares, and keeps the result. TransientError, AuthError, MapError, UsageError."""
        store = ReconcileStore(self._state)
        report = ReconcileReport(self.flow.flow.id, "checksums", datetime.now(UTC))
        offsets = self._topic_ends()
        among: list[str] | None = None
        with ExitStack() as stack:
            sides = self._open(stack, report)
            producer = cast("SupportsMarks", self._producer)
            barrier = stack.enter_context(closing(FlowBarrier(self.flow, self.owner, producer, self._settings)))
            if self._request.only_changed:
                among = self._changed(store, report)
                suspects = list(differing_records(sides, among, self._progress))
            else:
                found = compare_segments(sides, self._progress)
                report.owner_records, report.target_records = found.owner_records, found.target_records
                report.compared = max(found.owner_records, found.target_records)
                suspects = found.suspects
            self._settle(sides, suspects, barrier, report)
            report.rows_fetched = sides.owner.rows_fetched + sides.target.rows_fetched
            report.bytes_scanned = sides.owner.bytes_scanned + sides.target.bytes_scanned
        report.finished_at = datetime.now(UTC)
        store.put(report, offsets, among=among)
        return report

    def _open(self, stack: ExitStack, report: ReconcileReport) -> Sides:
        producer, consumer = self._producer, self._consumer
        if not (isinstance(producer, SupportsOwnerChecksums) and isinstance(consumer, SupportsTargetChecksums)):
            raise UsageError(f"{self.owner.name} and {self.flow.system.name} can't be compared by checksums")
        common = set(producer.hash_algorithms(self.owner))
        algorithm = next((one for one in consumer.hash_algorithms(self.flow.system) if one in common), None)
        if algorithm is None:
            raise UsageError(
                f"{self.owner.name} and {self.flow.system.name} have no hash function in common: one of the databases"
                " doesn't store text in UTF-8"
            )
        wanted = consumer.compared_parts(self.flow)
        parts = producer.comparable(self.owner, self.source, wanted)
        report.not_compared += left_out(wanted, parts)
        owner = stack.enter_context(closing(producer.owner_checksums(self.owner, self.source, parts, algorithm)))
        target = stack.enter_context(closing(consumer.target_checksums(self.flow, parts, algorithm)))
        return Sides(owner, target, parts)

    def _settle(self, sides: Sides, suspects: Sequence[str], barrier: FlowBarrier, report: ReconcileReport) -> None:
        """Reads the suspects again, and adds what is confirmed to the report."""
        if not suspects:
            return
        ignores_extra = self.flow.flow.deletes == "ignore"
        reasons: Reasons | None = None
        for verdicts in decide(
            sides,
            suspects,
            lambda: barrier.pass_now(self._request.wait),
            self._progress,
            ignores_extra=ignores_extra,
        ):
            report.in_flight += verdicts.in_flight
            report.undecided += verdicts.undecided
            if verdicts.differences:
                reasons = reasons or Reasons(self.flow, self.owner.name, self._settings, self._state)
                self._explain(sides, verdicts, reasons, report)
        if ignores_extra:
            report.not_compared.append("records that only the target has: the flow ignores deletes")

    def _explain(self, sides: Sides, verdicts: Verdicts, reasons: Reasons, report: ReconcileReport) -> None:
        extra = [one.id for one in verdicts.differences if one.kind == "extra"]
        foreign = cast("TargetChecksumReader", sides.target).foreign(extra) if extra else frozenset()
        for one in verdicts.differences:
            report.add(reasons.explain(one, is_foreign=one.id in foreign))

    def _changed(self, store: ReconcileStore, report: ReconcileReport) -> list[str]:
        """The records that have changed since the last whole reconciliation, and those that differed."""
        flow = self.flow.flow.id
        last = next(iter(store.runs(flow, whole=True, most=1)), None)
        if last is None:
            raise UsageError(f"{flow} has never been compared as a whole: sorbus reconcile {flow}")
        report.method = "changed"
        ids = changed_ids(self._settings, self._names.topic(self.flow.flow.data_type), last.offsets)
        ids.update(dict.fromkeys(one.id for one in store.differences(flow, most=1_000_000)))
        report.compared = len(ids)
        whole = max(last.owner_records or 0, last.target_records or 0)
        moment = f"{last.started_at.astimezone():%Y-%m-%d %H:%M %Z}"
        if whole > len(ids):
            report.not_compared.append(
                f"about {whole - len(ids):,} records without an event since {moment}: changes made in the target itself"
                " don't show"
            )
        return list(ids)

    def _topic_ends(self) -> dict[int, int]:
        client, topic = admin(self._settings), self._names.topic(self.flow.flow.data_type)
        return {number: end for (_, number), end in ends(client, partitions_of(client, [topic]).get(topic, [])).items()}


def left_out(wanted: dict[str, ComparedPart], parts: dict[str, ComparedPart]) -> list[str]:
    """What can't be compared by checksums, a sentence each."""
    out = []
    for part, compared in wanted.items():
        if part not in parts:
            out.append(f"list {part}: its owner keeps it in the record itself")
            continue
        there = {field.name for field in parts[part].fields}
        where = f"{part}[]." if part else ""
        for field in compared.fields:
            if field.name not in there:
                rule = field.assignment.rule
                why = f"rule {rule.text}" if rule is not None else "SQL can't write it as the mapping does"
                out.append(f"field {where}{field.name}: {why}")
    return out
