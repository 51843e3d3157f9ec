"""Schedules of people's work, as they write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sorbus.timing.calendars import Calendars
from sorbus.timing.schedule import SCHEDULE_FIX, parse_schedule

MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
WRITTEN = [
    "daily",
    "weekdays at 17:00",
    "weekly",
    "monthly",
    "quarterly",
    "yearly",
    "Monday before 09:00",
    "Mondays and Thursdays by 12:30 America/New_York",
    "first Monday of the month",
    "last working day of the month at 18:00 Europe/London",
    "15th of every month",
    "every 14d",
    "cron 0 9 * * 1 Europe/London",
]


@given(MOMENTS, st.sampled_from(WRITTEN))
def test_the_last_and_the_next_time_enclose_every_moment(moment: datetime, text: str) -> None:
    routine = parse_schedule(text, Calendars())
    last, following = routine.last_until(moment), routine.next_after(moment)

    assert last is not None
    assert following is not None
    assert last <= moment < following
    assert routine.next_after(last) == following
    assert routine.last_until(following) == following


@pytest.mark.parametrize(
    ("text", "following"),
    [
        ("daily", "2026-03-12T00:00Z"),
        ("weekdays at 17:00", "2026-03-11T17:00Z"),
        ("weekly", "2026-03-14T00:00Z"),
        ("monthly", "2026-04-01T00:00Z"),
        ("Quarterly", "2026-04-01T00:00Z"),
        ("yearly", "2027-01-01T00:00Z"),
        ("Monday before 09:00", "2026-03-16T09:00Z"),
        ("Tuesday, Friday and Sunday by 9:00", "2026-03-13T09:00Z"),
        ("first Monday of the month", "2026-04-07T00:00Z"),
        ("the last working day of the month at 18:00 Europe/London", "2026-03-31T17:00Z"),
        ("15th of the month", "2026-03-16T00:00Z"),
        ("every Friday at 08:00 America/New_York", "2026-03-13T12:00Z"),
    ],
)
def test_a_schedule_is_read_as_people_mean_it(text: str, following: str) -> None:
    wednesday = datetime(2026, 3, 11, 12, tzinfo=UTC)

    assert parse_schedule(text, Calendars()).next_after(wednesday) == datetime.fromisoformat(following)


def test_a_time_of_day_stays_when_the_clocks_change() -> None:
    before, after = datetime(2026, 3, 28, 12, tzinfo=UTC), datetime(2026, 3, 29, 12, tzinfo=UTC)
    routine = parse_schedule("daily before 09:00 Europe/London")

    assert routine.next_after(before) == datetime(2026, 3, 29, 8, tzinfo=UTC)
    assert routine.next_after(before - timedelta(days=1)) == datetime(2026, 3, 28, 9, tzinfo=UTC)
    assert routine.next_after(after) == datetime(2026, 3, 30, 8, tzinfo=UTC)


@pytest.mark.parametrize("text", ["on demand", "When needed"])
def test_on_demand_is_never_due(text: str) -> None:
    routine = parse_schedule(text, Calendars())

    assert routine.is_on_demand
    assert routine.next_after(datetime(2026, 1, 1, tzinfo=UTC)) is None
    assert routine.last_until(datetime(2026, 1, 1, tzinfo=UTC)) is None


@pytest.mark.parametrize("text", ["", "soon", "Monday or so", "31st of the month", "first moon of the month"])
def test_what_is_no_schedule_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match="is not a valid schedule") as refused:
        parse_schedule(text, Calendars())
    assert str(refused.value).endswith(SCHEDULE_FIX)


@pytest.mark.parametrize(
    ("text", "why"), [("Monday at 25:00", "no time of day"), ("Monday at 9:00 Mars/Base", "no time zone")]
)
def test_a_wrong_time_or_zone_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_schedule(text, Calendars())
