"""Reconciliations at their time, in the process that watches: one after another; a missed one is caught up once."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sorbus.backoff import Backoff
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
_FIRST_PAUSE, _LONGEST_PAUSE = 60.0, timedelta(hours=1)


class ScheduledReconciliations:
    """Those of one map. Call `look` after every measurement; the work is done in a thread."""

    def __init__(self, loaded: LoadedMap, settings: Settings, *, clock: Callable[[], datetime] | None = None) -> None:
        self._loaded, self._settings = loaded, settings
        self._clock = clock or (lambda: datetime.now(UTC))
        self._timings = dict(timings_of(loaded.map))
        self._thread: threading.Thread | None = None
        self._tried: dict[str, datetime] = {}
        self._failing: dict[str, tuple[Backoff, datetime]] = {}
        """Flows whose last comparison failed, and when it is tried again: it may take an hour until it fails."""

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
        timing, now, tried = self._timings[name], self._clock(), self._tried.get(name)
        if name in self._failing and timedelta(0) < self._failing[name][1] - now <= _LONGEST_PAUSE:
            return False
        due = timing.last_until(now)
        return due is not None and (tried is None or not timing.has_run(tried, due, now))

    def _run(self, flows: list[str]) -> None:
        for name in flows:
            now = self._clock()
            due = self._timings[name].last_until(now)
            assert due is not None
            try:
                if self._reconcile(name, due, now):
                    self._tried[name] = now
                self._failing.pop(name, None)
            except SorbusError as error:
                _log.warning("a scheduled reconciliation failed", extra={"flow": name, "reason": str(error)})
                if error.exit_code != ExitCode.UNREACHABLE:
                    self._tried[name] = now  # the same again would fail again: the next scheduled time tries anew
                else:
                    self._pause(name)
            except Exception:  # noqa: BLE001  # the other flows are compared all the same
                _log.exception("a scheduled reconciliation failed", extra={"flow": name})
                self._tried[name] = now

    def _pause(self, name: str) -> None:
        backoff, _ = self._failing.get(name) or (Backoff(_FIRST_PAUSE, _LONGEST_PAUSE.total_seconds()), None)
        self._failing[name] = backoff, self._clock() + timedelta(seconds=backoff.next())

    def _reconcile(self, name: str, due: datetime, now: datetime) -> bool:
        """Compares a flow, and heals it where the map says so; whether it is done, by this process or by another."""
        state = State.of(self._loaded.map.topic_prefix)
        with state.lock(f"reconcile {name}") as is_ours:
            if not is_ours:
                return False
            store = ReconcileStore(state)
            last = next(iter(store.runs(name, whole=True, most=1)), None)
            if last is None or not self._timings[name].has_run(last.started_at, due, now):
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
