"""Pauses between retries grow, stay below their cap, and give way to what the other side asks for."""

from hypothesis import given
from hypothesis import strategies as st

from sorbus.backoff import Backoff


def test_pauses_double_up_to_the_longest() -> None:
    backoff = Backoff(0.5, 3.0, jitter=lambda: 1.0)
    assert [backoff.next() for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_a_success_makes_the_next_pause_short_again() -> None:
    backoff = Backoff(1.0, 60.0, jitter=lambda: 1.0)
    assert [backoff.next(), backoff.next()] == [1.0, 2.0]
    backoff.reset()
    assert (backoff.failures, backoff.next()) == (0, 1.0)


def test_what_the_other_side_asks_for_counts_up_to_the_limit() -> None:
    backoff = Backoff(1.0, 30.0, limit=60.0, jitter=lambda: 1.0)
    assert [backoff.next(45.0), backoff.next(3600.0), backoff.next()] == [45.0, 60.0, 4.0]


@given(st.integers(0, 5000), st.floats(0, 1))
def test_jitter_takes_away_at_most_half_however_many_failures_there_were(failures: int, jitter: float) -> None:
    backoff = Backoff(1.0, 60.0, jitter=lambda: jitter)
    backoff.failures = failures
    assert min(60.0, 2.0 ** min(failures, 10)) / 2 <= backoff.next() <= 60.0
