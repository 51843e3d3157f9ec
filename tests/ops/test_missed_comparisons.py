"""Scheduled comparisons that did not come: what was found long ago looks like agreement now."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sorbus.errors import TransientError
from sorbus.map.loaded import LoadedMap
from sorbus.mapfile.model import Map
from sorbus.ops.monitoring.flow_state import FlowState
from sorbus.ops.reconcile.counts import DifferenceCounts, difference_counts
from sorbus.ops.reconcile.scheduled import ScheduledReconciliations
from sorbus.ops.reconcile.store import ReconcileStore
from sorbus.settings import Settings
from sorbus.state.database import State

FLOW = FlowState("order-to-books", "order", "books", "running", 1, 7, 0, 0.0, None, 0, 990.0, 0.0)
OTHER = FlowState("order-to-shop", "order", "shop", "running", 1, 7, 0, 0.0, None, 0, 990.0, 0.0)
COMPANY = Map.model_validate(
    {
        "systems": {name: {"kind": "postgres"} for name in ("crm", "books", "shop")},
        "data_types": {"order": {"system_of_record": "crm"}},
        "flows": [
            {"data_type": "order", "to": "books", "reconcile": "daily 03:00"},
            {"data_type": "order", "to": "shop"},
        ],
    }
)
RUN = """
insert into reconcile_run (flow, method, started_at, finished_at, compared, rows_fetched, bytes_scanned, counts,
                           in_flight, undecided, not_compared, from_topic, offsets)
values ('order-to-books', %s, now() - %s::interval, now() - %s::interval, 1, 1, 1, '{}', 0, 0, '[]', '[]', '{}')
"""
DIFFERS = """
insert into reconcile_difference (flow, id, kind, fields, why, cause, first_run, last_run, first_seen, last_seen)
values (%s, '1', 'missing', '[]', '', '', 1, 1, now(), now())
"""
RAN = """
insert into history_run (run, activity, subject, instance, began_at, seen_at)
values (gen_random_uuid()::text, 'delivery', 'order-to-books', 'a:1', now() - %s::interval, now())
"""


@pytest.mark.parametrize(
    ("runs", "ran", "said"),
    [
        ([("checksums", "40 days")], None, "not compared with its owner since "),
        ([("checksums", "40 days"), ("changed", "1 minute")], None, "not compared with its owner since "),
        ([("checksums", "40 days"), ("checksums", "1 minute")], None, None),
        ([("checksums", "-40 days")], None, "not compared with its owner since "),
        ([("checksums", "-40 days"), ("checksums", "1 minute")], None, None),
        ([], "40 days", "not compared with its owner at any time, though it was due at "),
        ([], "1 minute", None),
        ([], None, None),
    ],
)
def test_a_comparison_that_did_not_come_is_said(
    state: State, monkeypatch: pytest.MonkeyPatch, runs: list[tuple[str, str]], ran: str | None, said: str | None
) -> None:
    with state.connection() as connection:
        for method, ago in runs:
            connection.execute(RUN.encode(), (method, ago, ago))
        if ran:
            connection.execute(RAN.encode(), (ran,))
    monkeypatch.setattr(State, "of", lambda prefix: state)
    counts = difference_counts(COMPANY, has_state=True)()
    found = list(counts.complaints())
    assert [said in one for one in found] == ([True] if said else [])
    assert [one.partition(": ")[0] for one in found] == ["order-to-books"] * len(found)
    assert [badge.text for badge in counts.flow_badges("order-to-books")] == ["comparison overdue"] * len(found)
    (overdue,) = _overdue(counts)
    assert (overdue > 0) == bool(said)


def test_what_differed_in_a_flow_that_has_left_the_map_is_no_complaint(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`sorbus reconcile` knows no such flow, so that nobody could ever settle it."""
    monkeypatch.setattr(State, "of", lambda prefix: state)
    with state.connection() as connection:
        for flow in ("order-to-books", "order-to-warehouse"):
            connection.execute(RUN.replace("order-to-books", flow).encode(), ("checksums", "1 minute", "1 minute"))
            connection.execute(DIFFERS.encode(), (flow,))
    counts = difference_counts(COMPANY, has_state=True)()
    assert list(counts.complaints()) == ["order-to-books: 1 record differs from the owner's"]
    assert counts.needs_person() == 1


def test_a_clock_that_was_ahead_for_a_moment_does_not_end_comparisons(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments: list[datetime] = []

    def compare(self: ScheduledReconciliations, name: str, used: State, store: ReconcileStore) -> None:
        compared.append(moments[-1])
        at = moments[-1]
        with used.connection() as connection:
            connection.execute(RUN.replace("now() - %s::interval", "%s").encode(), ("checksums", at, at))

    compared: list[datetime] = []
    monkeypatch.setattr(State, "of", lambda prefix: state)
    monkeypatch.setattr(ScheduledReconciliations, "_compare", compare)
    loaded = LoadedMap(COMPANY, {}, {})
    scheduled = [ScheduledReconciliations(loaded, Settings(), clock=lambda: moments[-1]) for _ in range(2)]
    now = datetime(2026, 5, 4, 12, tzinfo=UTC)
    for hours, one, wanted in [
        (0, 0, 1),
        (24 * 365, 0, 2),  # ahead by a year
        (1, 0, 3),  # and right again: what was noted then says nothing
        (2, 0, 3),
        (2, 1, 3),  # another process, or this one started again, reads it in the database
        (-2, 1, 3),  # set back by less than a step: not twice
        (25, 1, 4),
    ]:
        moments.append(now + timedelta(hours=hours))
        scheduled[one].look()
        scheduled[one].wait(30)
        assert len(compared) == wanted, (hours, one)


def test_a_comparison_that_fails_is_not_begun_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[datetime] = []
    moments = [datetime(2026, 5, 4, 12, tzinfo=UTC)]
    is_locked = True

    def reconcile(self: ScheduledReconciliations, name: str, due: datetime, now: datetime) -> bool:
        tried.append(now)
        if is_locked:
            raise TransientError("a table is locked")
        return True

    monkeypatch.setattr(ScheduledReconciliations, "_reconcile", reconcile)
    scheduled = ScheduledReconciliations(LoadedMap(COMPANY, {}, {}), Settings(), clock=lambda: moments[-1])

    def pass_time(hours: int) -> int:
        count = len(tried)
        for _ in range(hours * 360):
            moments.append(moments[-1] + timedelta(seconds=10))
            scheduled.look()
            scheduled.wait(30)
        return len(tried) - count

    assert 3 <= pass_time(3) <= 50, "not at each of 1,080 looks"
    moments.append(moments[-1] - timedelta(days=2))  # the clock had been ahead
    assert pass_time(1) >= 1
    is_locked = False
    assert pass_time(2) == 1


def test_one_flow_s_unexpected_error_keeps_no_other_from_being_compared(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tried: list[str] = []

    def reconcile(self: ScheduledReconciliations, name: str, due: datetime, now: datetime) -> bool:
        tried.append(name)
        if name == FLOW.flow:
            raise KeyError("a connector of somebody's own")
        return True

    monkeypatch.setattr(ScheduledReconciliations, "_reconcile", reconcile)
    company = COMPANY.model_copy(
        update={"flows": [one.model_copy(update={"reconcile": COMPANY.flows[0].reconcile}) for one in COMPANY.flows]}
    )
    scheduled = ScheduledReconciliations(LoadedMap(company, {}, {}), Settings())
    for _ in range(2):
        scheduled.look()
        scheduled.wait(30)
    assert tried == [FLOW.flow, OTHER.flow]
    assert "a connector of somebody's own" in caplog.text


def _overdue(counts: DifferenceCounts) -> list[float]:
    missed = next((one for one in counts.missed.values() if one), None)
    at = missed.due.timestamp() + 60 if missed else 1.0
    gauges = counts.metrics([FLOW, OTHER], at)
    return [value for one in gauges if one.name == "sorbus_reconcile_overdue_seconds" for _, value in one.samples]
