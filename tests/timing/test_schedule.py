"""Timings as people write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sorbus.timing.schedule import FIX, parse_timing

MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))


def test_real_time_runs_at_once() -> None:
    timing = parse_timing("real-time")

    assert timing.is_real_time
    assert timing.next_after(datetime(2026, 1, 1, tzinfo=UTC)) is None


@given(MOMENTS, st.integers(1, 500), st.sampled_from("smh"))
def test_an_interval_comes_within_its_length_and_on_its_grid(moment: datetime, count: int, unit: str) -> None:
    timing = parse_timing(f"every {count}{unit}")
    assert timing.every is not None

    following = timing.next_after(moment)

    assert following is not None
    assert timedelta(0) < following - moment <= timing.every
    assert (following - datetime(1970, 1, 1, tzinfo=UTC)) % timing.every == timedelta(0)


def test_a_restart_does_not_shift_an_interval() -> None:
    timing = parse_timing("every 15m")

    first = timing.next_after(datetime(2026, 5, 1, 10, 1, tzinfo=UTC))
    second = timing.next_after(datetime(2026, 5, 1, 10, 14, 59, tzinfo=UTC))

    assert first == second == datetime(2026, 5, 1, 10, 15, tzinfo=UTC)


def test_cron_follows_the_clocks_of_its_time_zone() -> None:
    timing = parse_timing("cron 0 2 * * * Europe/Berlin")

    assert timing.next_after(datetime(2026, 1, 10, tzinfo=UTC)) == datetime(2026, 1, 10, 1, tzinfo=UTC)
    assert timing.next_after(datetime(2026, 7, 10, tzinfo=UTC)) == datetime(2026, 7, 11, 0, tzinfo=UTC)


def test_cron_without_a_time_zone_is_utc() -> None:
    assert parse_timing("cron 30 6 * * 1").next_after(datetime(2026, 11, 24, tzinfo=UTC)) == datetime(
        2026, 11, 30, 6, 30, tzinfo=UTC
    )


@pytest.mark.parametrize(
    "text",
    [
        *("", "hourly", "every", "every 0s", "every 5", "every -5m", "every 400d", "cron", "cron 0 2 * *"),
        *("cron 61 * * * *", "cron 0 2 * * * Europe/Lundon", "cron 0 2 * * * ../../etc/passwd"),
        *("cron 0 2 * * * UTC now", "cron 0 0 30 2 *"),
    ],
)
def test_what_is_no_timing_is_refused_with_the_cure(text: str) -> None:
    with pytest.raises(ValueError) as refused:
        parse_timing(text)

    assert any(word in str(refused.value) for word in (FIX, "write one such as Europe/London"))


@given(st.text(max_size=40))
def test_any_text_is_a_timing_or_a_value_error(text: str) -> None:
    try:
        parse_timing(text).next_after(datetime(2026, 1, 1, tzinfo=UTC))
    except ValueError:
        return


@pytest.mark.parametrize("timing", ["every 15m", "every 1d", "cron 0 2 * * *", "cron 0 2 * * 1 Europe/Berlin"])
def test_a_clock_that_jumps_makes_no_run_come_twice_and_no_schedule_stand_still(timing: str) -> None:
    read = parse_timing(timing)
    now = datetime(2026, 3, 2, 9, 7, tzinfo=UTC)
    due = read.next_after(now)
    assert due is not None
    step = (read.next_after(due) or due) - due
    assert read.still_due(due, now) == due
    assert read.still_due(due, due) == due
    assert read.still_due(due, due - step / 2) == due, "set back by less than a step: not run twice"
    ahead = read.next_after(now + timedelta(days=4000))
    assert ahead is not None
    assert read.still_due(ahead, now) == due, "years ahead for a moment: due when it would have been"


@pytest.mark.parametrize("text", ["every 15m", "daily at 03:00", "Monday at 06:00", "last day of the month"])
def test_a_run_is_that_of_its_time_unless_a_clock_was_ahead(text: str) -> None:
    timing, now = parse_timing(text), datetime(2026, 5, 4, 12, 3, tzinfo=UTC)
    due, following = timing.last_until(now), timing.next_after(now)
    assert due is not None
    assert following is not None

    second = timedelta(seconds=1)
    for at, is_kept in [(due - second, False), (due, True), (following - second, True), (following, False)]:
        assert timing.has_run(at, due, now) is is_kept
    assert not timing.has_run(now + timedelta(days=3650), due, now)
