"""A rolling sample looks at all records in turn, whatever comes and goes, and says truly how far it is."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sorbus.errors import BudgetSpent
from sorbus.ops.reconcile.request_budget import RequestBudget
from sorbus.ops.reconcile.rolling_sample import RollingSample
from sorbus.state.database import State

_BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
_RUNS = st.lists(st.tuples(st.integers(0, 12), st.booleans(), st.sets(st.integers(0, 29), max_size=3)), max_size=12)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(runs=_RUNS)
def test_what_it_says_is_what_was_looked_at(state: State, runs: list[tuple[int, bool, set[int]]]) -> None:
    flow, ledger = f"f{uuid.uuid4().hex}", dict[bytes, datetime]()
    ids = {f"r{number}".encode() for number in range(20)}
    for number, (size, is_all, changed) in enumerate(runs):
        left = {f"r{one}".encode() for one in changed}
        ids = (ids - left) | {b"%s in run %d" % (one, number) for one in left - ids}
        sample, at = RollingSample(state, flow), _BEGAN + timedelta(days=number)
        order = sample.order(ids)
        assert sorted(order) == sorted(ids)
        part = order if is_all else order[:size]
        sample.looked_at(part, at, are_all=len(part) == len(ids))
        ledger.update(dict.fromkeys(part, at))
        found = RollingSample(state, flow).coverage(ids, a_day=5, cost=1.0)
        assert found.records == len(ids)
        looked = [ledger[id] for id in ids if id in ledger]
        assert (found.looked_at, found.oldest) == (len(looked), min(looked, default=None))


def test_all_have_had_their_turn_after_one_round(state: State) -> None:
    ids = {f"r{number}".encode() for number in range(100)}
    seen: list[bytes] = []
    for day in range(9):
        sample = RollingSample(state, "round")
        part = sample.order(ids)[:11]
        sample.looked_at(part, _BEGAN + timedelta(days=day))
        seen += part
        found = RollingSample(state, "round").coverage(ids, a_day=11, cost=1.0)
        assert (found.looked_at, found.oldest) == (min(100, len(seen)), _BEGAN)
    sample = RollingSample(state, "round")
    assert set(seen) | set(sample.order(ids)[:1]) == ids
    assert found.days == 10
    for day in range(9, 40):  # what is kept doesn't grow
        sample = RollingSample(state, "round")
        sample.looked_at(sample.order(ids)[:11], _BEGAN + timedelta(days=day))
    ((rows,),) = state.run(b"select count(*) from reconcile_look where flow = 'round'")
    assert int(str(rows)) <= 12


def test_a_budget_is_counted_over_the_day_by_all(state: State) -> None:
    first, other = RequestBudget(state, "one", 12), RequestBudget(state, "one", 12)
    for _ in range(6):
        first.take()
        other.take()
    assert (first.left, other.left, RequestBudget(state, "two", 12).left) == (0, 0, 12)
    with pytest.raises(BudgetSpent, match="00:00 UTC, or with --all"):
        first.take()
    everything = RequestBudget(state, "one", None)
    everything.take()
    assert (everything.left, everything.taken) == (None, 1)
    state.run(b"update reconcile_requests set day = day - 1")
    assert first.left == 12
