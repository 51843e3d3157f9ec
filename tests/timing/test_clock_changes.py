"""Schedules and quiet hours around every change of the clocks, compared with what the clock shows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest
from dateutil import tz

from sorbus.timing.delivery import DeliveryTimes
from sorbus.timing.quiet import parse_quiet
from sorbus.timing.schedule import Timing, parse_timing

HOUR, STEP, DAY = timedelta(hours=1), timedelta(minutes=5), timedelta(days=1)
A_DAY = DAY // STEP
ZONES = [
    *(("Europe/London", 2026), ("Europe/Berlin", 2027), ("America/New_York", 2026), ("Australia/Sydney", 2026)),
    ("Australia/Lord_Howe", 2026),  # by half an hour
    ("America/Sao_Paulo", 2018),  # at midnight
    ("Africa/Casablanca", 2026),  # for Ramadan
    ("Pacific/Apia", 2011),  # a whole day is skipped
    ("Asia/Kolkata", 2026),
]
CLOCKS = ["00:00", "00:15", "01:00", "01:30", "02:00", "02:15", "02:30", "03:00", "03:30", "12:00", "23:45"]


@cache
def steps(name: str, year: int) -> tuple[tuple[datetime, datetime], ...]:
    """(UTC, what the clock shows) for two days before and after each change of a year's clocks, five minutes a step."""
    zone, begin = ZoneInfo(name), datetime(year, 1, 1, tzinfo=UTC)
    hours = [begin + n * HOUR for n in range(365 * 24)]
    changes = [one for one in hours if one.astimezone(zone).utcoffset() != (one + HOUR).astimezone(zone).utcoffset()]
    starts = [change - 2 * DAY for change in changes] or [begin]
    moments = (start + n * STEP for start in starts for n in range(4 * A_DAY))
    return tuple((moment, moment.astimezone(zone).replace(tzinfo=None)) for moment in moments)


@cache
def days_of(zone: str, year: int) -> list[date]:
    """The days of which the steps hold all, also those that the clocks skip."""
    shown = {local.date() for _, local in steps(zone, year)}
    return [day for day in sorted(shown | {one + DAY for one in shown}) if {day - DAY, day + DAY} <= shown]


def runs(timing: Timing, begin: datetime, end: datetime) -> Iterator[datetime]:
    moment = begin
    while (following := timing.next_after(moment)) is not None and following <= end:
        yield following
        moment = following


@pytest.mark.parametrize(("zone", "year"), ZONES)
def test_a_daily_run_comes_once_on_each_day(zone: str, year: int) -> None:
    for clock in CLOCKS:
        hour, minute = map(int, clock.split(":"))
        for written in (f"daily at {clock} {zone}", f"cron {minute} {hour} * * * {zone}"):
            timing = parse_timing(written)
            for day in days_of(zone, year):
                local = datetime(day.year, day.month, day.day, hour, minute, tzinfo=tz.gettz(zone))
                due = tz.resolve_imaginary(local).astimezone(UTC)
                assert timing.next_after(due - STEP) == due, f"{written} on {day}"
                assert timing.last_until(due) == due, f"{written} on {day}"


@pytest.mark.parametrize(("zone", "year"), ZONES)
@pytest.mark.parametrize("cron", ["*/15 * * * *", "0 * * * *", "5 * * * 1-5"])
def test_a_cron_line_for_every_hour_runs_in_every_hour_there_is(cron: str, zone: str, year: int) -> None:
    timing = parse_timing(f"cron {cron} {zone}")
    at = {"*/15 * * * *": {0, 15, 30, 45}, "0 * * * *": {0}, "5 * * * 1-5": {5}}[cron]
    seen = steps(zone, year)
    stretch = seen[: 4 * A_DAY]
    expected = [
        moment for moment, local in stretch if local.minute in at and (cron[-1] != "5" or local.isoweekday() < 6)
    ]
    begin, end = stretch[0][0] - STEP, stretch[-1][0]
    assert list(runs(timing, begin, end)) == expected
    assert [timing.last_until(moment) for moment in expected] == expected


@pytest.mark.parametrize(("zone", "year"), ZONES)
@pytest.mark.parametrize("hours", ["22:00-06:00", "01:30-02:30", "02:15-02:45", "00:00-03:00", "23:00-01:30"])
def test_it_is_quiet_from_when_the_clock_first_shows_the_beginning_until_it_last_shows_less_than_the_end(
    hours: str, zone: str, year: int
) -> None:
    quiet = parse_quiet([f"{hours} {zone}"])
    begin, end = (int(text[:2]) * 60 + int(text[3:]) for text in hours.split("-"))
    length = end - begin if end > begin else end - begin + 1440
    seen = steps(zone, year)[: 4 * A_DAY]
    expected: set[datetime] = set()
    for day in days_of(zone, year)[:6]:
        first = datetime(day.year, day.month, day.day) + timedelta(minutes=begin)
        last = first + timedelta(minutes=length)
        begins = next((moment for moment, local in seen if local >= first), None)
        ends = max((moment + STEP for moment, local in seen if local < last), default=None)
        if begins is not None and ends is not None:
            expected |= {begins + n * STEP for n in range(int((ends - begins) / STEP))}
    inner = [moment for moment, local in seen if local.date() in days_of(zone, year)]
    for moment in inner[A_DAY:-A_DAY]:
        until = quiet.until(moment)
        assert (until is not None) == (moment in expected), f"{moment} is {moment.astimezone(ZoneInfo(zone))}"
        if until is not None and moment + STEP not in expected:
            assert until.moment == moment + STEP


def test_what_comes_due_in_quiet_hours_is_due_once_at_their_end() -> None:
    times = DeliveryTimes(parse_timing("every 15m"), parse_quiet(["22:00-06:00 Europe/London"]))
    evening = datetime(2026, 7, 1, 21, 5, tzinfo=UTC)  # 22:05 in London
    assert times.next_run(evening) == datetime(2026, 7, 2, 5, tzinfo=UTC)
    assert times.words(evening) == "quiet until 06:00 Europe/London"
    assert times.words(datetime(2026, 7, 1, 12, 1, tzinfo=UTC)) == "runs next at 12:15 UTC"
    assert times.words(datetime(2026, 7, 1, 20, 50, tzinfo=UTC)) == "runs next at 06:00 Europe/London"
