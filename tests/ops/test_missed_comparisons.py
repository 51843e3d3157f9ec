"""Scheduled comparisons that did not come: what was found long ago looks like agreement now."""

from __future__ import annotations

import pytest

from sorbus.mapfile.model import Map
from sorbus.ops.monitoring.flow_state import FlowState
from sorbus.ops.reconcile.counts import DifferenceCounts, difference_counts
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


def _overdue(counts: DifferenceCounts) -> list[float]:
    missed = next((one for one in counts.missed.values() if one), None)
    at = missed.due.timestamp() + 60 if missed else 1.0
    gauges = counts.metrics([FLOW, OTHER], at)
    return [value for one in gauges if one.name == "sorbus_reconcile_overdue_seconds" for _, value in one.samples]
