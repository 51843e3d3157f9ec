"""One reconciliation of one flow: comparing it, and keeping what differs."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime

from sorbus.bus.names import Names
from sorbus.errors import UsageError
from sorbus.map.loaded import LoadedMap
from sorbus.ops.reconcile.barrier import Patience
from sorbus.ops.reconcile.by_checksums import Progress, Sides, compare_segments, differing_records
from sorbus.ops.reconcile.by_topic import TopicSides, TopicSuspects
from sorbus.ops.reconcile.changed import changed_ids, topic_ends
from sorbus.ops.reconcile.comparable_flow import ComparableFlow
from sorbus.ops.reconcile.finding import ReconcileReport
from sorbus.ops.reconcile.store import ReconcileStore
from sorbus.settings import Settings
from sorbus.state.database import State


@dataclass(frozen=True, slots=True)
class ReconcileRequest:
    """What to reconcile. `only_changed`: the records with events since the last whole reconciliation, and open
    differences. `ignores_budget`: requests are counted, not limited. `wait`: seconds that a change in
    flight may take to arrive.
    """

    flow: str
    only_changed: bool = False
    ignores_budget: bool = False
    wait: float = 30.0


class Reconciliation:
    """Compares one flow of a map whose owner and target compute checksums."""

    def __init__(self, loaded: LoadedMap, request: ReconcileRequest, settings: Settings, progress: Progress) -> None:
        """UsageError where the flow can't be compared this way."""
        self._request, self._settings, self._progress = request, settings, progress
        self._compared = ComparableFlow(loaded, request.flow, settings)
        self.flow, self.owner = self._compared.flow, self._compared.owner
        self._topic = Names(loaded.map.topic_prefix).topic(self.flow.flow.data_type)
        self._store = ReconcileStore(State.of(loaded.map.topic_prefix))

    def run(self) -> ReconcileReport:
        """Compares, and keeps the result. TransientError, AuthError, MapError, UsageError."""
        report = ReconcileReport(self.flow.flow.id, "checksums", datetime.now(UTC))
        offsets = topic_ends(self._settings, self._topic)
        among: list[str] | None = None
        with ExitStack() as stack:
            opened = self._compared.open(stack)
            sides, report.not_compared, report.from_topic = opened.sides, opened.not_compared, opened.from_topic
            barrier = Patience(self._compared.barrier(stack), self._request.wait)
            if self._request.only_changed:
                among = self._changed(report)
                suspects = list(differing_records(sides, among, self._progress))
            else:
                sides.snapshot()
                found = compare_segments(sides, self._progress)
                report.owner_records, report.target_records = found.owner_records, found.target_records
                report.compared = max(found.owner_records, found.target_records)
                suspects = found.ids
            known = self._settle(sides, suspects, barrier, report)
            if opened.topic is not None:
                again = self._topic_suspects(opened.topic, among, report)
                known |= self._settle(opened.topic, [id for id in again.differing if id not in known], barrier, report)
                left = [id for id in again.undelivered if id not in known]
                for difference in self._compared.undelivered(opened.topic, left, barrier):
                    report.add(difference)
                report.rows_fetched += opened.topic.target.rows_fetched
            report.rows_fetched += sides.owner.rows_fetched + sides.target.rows_fetched
            report.not_compared += opened.nameless()
            report.bytes_scanned = sides.owner.bytes_scanned + sides.target.bytes_scanned
        report.finished_at = datetime.now(UTC)
        self._store.put(report, offsets, among=among)
        return report

    def _settle(
        self, sides: Sides | TopicSides, suspects: Sequence[str], barrier: Patience, report: ReconcileReport
    ) -> set[str]:
        """Reads the suspects again, and adds what is confirmed to the report; the records that differ."""
        known: set[str] = set()
        for verdicts, differences in self._compared.settle(sides, suspects, barrier, self._progress):
            report.in_flight += verdicts.in_flight
            report.undecided += len(verdicts.undecided)
            for difference in differences:
                report.add(difference)
                known.add(difference.id)
        return known

    def _topic_suspects(self, sides: TopicSides, among: Sequence[str] | None, report: ReconcileReport) -> TopicSuspects:
        """The report says how many records the topic could not be asked about."""
        if among is not None:
            return sides.owner.among(sides.target, among)
        found = sides.owner.suspects(sides.target, self._progress)
        own = sum(one.cause == "foreign" for one in report.differences)
        if why := found.uncounted(report.target_records or 0, own):
            report.not_compared.append(why)
        return found

    def _changed(self, report: ReconcileReport) -> list[str]:
        """The records that have changed since the last whole reconciliation, and those that differed."""
        flow = self.flow.flow.id
        last = next(iter(self._store.runs(flow, whole=True, most=1)), None)
        if last is None:
            raise UsageError(f"{flow} has never been compared as a whole: sorbus reconcile {flow}")
        report.method = "changed"
        ids = changed_ids(self._settings, self._topic, last.offsets, last.started_at)
        ids.update(dict.fromkeys(one.id for one in self._store.differences(flow, most=1_000_000)))
        report.compared = len(ids)
        whole = max(last.owner_records or 0, last.target_records or 0)
        moment = f"{last.started_at.astimezone():%Y-%m-%d %H:%M %Z}"
        if whole > len(ids):
            report.not_compared.append(
                f"about {whole - len(ids):,} records without an event since {moment}: changes made in the target itself"
                " don't show"
            )
        return list(ids)
