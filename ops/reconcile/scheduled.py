"""Reconciliations at their time, in the process that watches: one after another; a missed one is caught up once."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime

from sorbus.errors import ExitCode, SorbusError
from sorbus.map.loaded import LoadedMap
from sorbus.ops.reconcile.by_delivery import reconciliation
from sorbus.ops.reconcile.counts import timings_of
from sorbus.ops.reconcile.heal import heal, plan_heal, records_of
from sorbus.ops.reconcile.run import ReconcileRequest
from sorbus.ops.reconcile.store import ReconcileStore
from sorbus.settings import Settings
from sorbus.state.database import State

_log = logging.getLogger(__name__)


class ScheduledReconciliations:
    """Those of one map. Call `look` after every measurement; the work is done in a thread."""

    def __init__(self, loaded: LoadedMap, settings: Settings, *, clock: Callable[[], datetime] | None = None) -> None:
        self._loaded, self._settings = loaded, settings
        self._clock = clock or (lambda: datetime.now(UTC))
        self._timings = dict(timings_of(loaded.map))
        self._thread: threading.Thread | None = None
        self._tried: dict[str, datetime] = {}

    def look(self) -> None:
        """Starts what is due, unless a reconciliation is running."""
        if self._thread is not None and self._thread.is_alive():
            return
        due = [name for name in self._timings if self._is_due(name)]
        if due:
            self._thread = threading.Thread(target=self._run, args=(due,), name="reconcile", daemon=True)
            self._thread.start()

    def wait(self, seconds: float) -> None:
        """Until what is running has ended, at most so long."""
        if self._thread is not None:
            self._thread.join(seconds)

    def _is_due(self, name: str) -> bool:
        due = self._timings[name].last_until(self._clock())
        return due is not None and self._tried.get(name, datetime.min.replace(tzinfo=UTC)) < due

    def _run(self, flows: list[str]) -> None:
        for name in flows:
            now = self._clock()
            due = self._timings[name].last_until(now)
            assert due is not None
            try:
                if self._reconcile(name, due):
                    self._tried[name] = now
            except SorbusError as error:
                _log.warning("a scheduled reconciliation failed", extra={"flow": name, "reason": str(error)})
                if error.exit_code != ExitCode.UNREACHABLE:
                    self._tried[name] = now  # the same again would fail again: the next scheduled time tries anew

    def _reconcile(self, name: str, due: datetime) -> bool:
        """Compares a flow, and heals it where the map says so; whether it is done, by this process or by another."""
        state = State.of(self._loaded.map.topic_prefix)
        with state.lock(f"reconcile {name}") as is_ours:
            if not is_ours:
                return False
            store = ReconcileStore(state)
            last = next(iter(store.runs(name, whole=True, most=1)), None)
            if last is None or last.started_at < due:
                self._compare(name, state, store)
        return True

    def _compare(self, name: str, state: State, store: ReconcileStore) -> None:
        run = reconciliation(self._loaded, ReconcileRequest(name), self._settings, lambda *_: None)
        report = run.run()
        told = {"flow": name, "compared": report.compared, "differ": report.total}
        _log.info("reconciled", extra=told)
        if report.total and self._loaded.map.flow(name).reconcile.on_difference == "heal":
            plan = plan_heal(run.flow, store.differences(name, most=1_000_000), records_of(report), report.total)
            if plan.needs_consent:
                _log.warning(
                    "healing needs a person: more differs than heal_limit allows",
                    extra={"flow": name, "records": len(plan.records), "share": f"{plan.share:.1%}"},
                )
            elif plan.records:
                heal(plan, run.flow, run.owner.name, self._settings, state, "schedule")
