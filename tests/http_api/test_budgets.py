"""What the state says of rate limits and circuits, for `sorbus status` and the watch."""

from __future__ import annotations

from datetime import timedelta

from sorbus.http_api.description import Limit
from sorbus.http_api.limits import Breaker, Limiter
from sorbus.http_api.limits.breaker import FAULTS
from sorbus.http_api.limits.budgets import Window, read_budgets
from sorbus.state import State

MINUTE = Limit(requests=60, per=timedelta(minutes=1))
DAY = Limit(requests=5000, per=timedelta(days=1), remaining_header="X-Left")


def test_what_was_taken_is_no_longer_left_and_what_the_system_says_counts_for_more(state: State) -> None:
    limiter = Limiter(state, "accounting", [MINUTE, DAY], flow="a")
    for _ in range(3):
        assert limiter.take(patience=1) == 0.0
    (budget,) = read_budgets(state)
    assert str(budget) == "accounting: 4,997 of 5,000 requests left today, 60/min; circuit closed"
    assert budget.windows == (Window(60.0, 60, 57), Window(86_400.0, 5000, 4997))
    limiter.heard(200, {"X-Left": "4000"}, None)
    limiter.heard(429, {}, 30.0)
    (budget,) = read_budgets(state)
    assert budget.windows[1].left == 4000
    assert 29 < budget.blocked <= 30


def test_a_limit_that_was_changed_shows_as_it_is_now(state: State) -> None:
    assert Limiter(state, "accounting", [MINUTE, DAY], flow="a").take(patience=1) == 0.0
    state.run(b"update rate_window set slot = slot - 200")  # a while ago
    bigger = Limit(requests=100, per=timedelta(minutes=1))
    assert Limiter(state, "accounting", [bigger], flow="a").take(patience=1) == 0.0
    (budget,) = read_budgets(state)
    assert budget.windows == (Window(60.0, 100, 99),)


def test_a_system_that_is_down_shows_for_how_long(state: State) -> None:
    breaker = Breaker(state, "support")
    for _ in range(FAULTS):
        breaker.failed()
    state.run(b"update breaker set opened_at = opened_at - 90")
    (budget,) = read_budgets(state)
    assert 90 <= budget.down < 100
    assert budget.complaints()
    breaker.succeeded()
    (budget,) = read_budgets(state)
    assert budget.down == 0.0
    assert str(budget) == "support: no rate limit; circuit closed"
