"""Working days and holidays, compared with days counted one by one."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sorbus.timing.calendars import Calendars, WorkingCalendar
from sorbus.timing.holiday_file import WrongHoliday, read_holidays
from sorbus.timing.quiet import parse_quiet
from sorbus.timing.schedule import parse_schedule, parse_timing

DAYS = st.dates(date(2024, 1, 1), date(2027, 12, 31))
CALENDARS = st.builds(
    WorkingCalendar,
    st.frozensets(st.integers(0, 6), min_size=1, max_size=3),
    st.frozensets(st.dates(date(2024, 1, 1), date(2027, 12, 31)), max_size=30),
)
ENDS = {"month": range(1, 13), "quarter": (3, 6, 9, 12), "year": (12,)}
BEGINS = {"month": range(1, 13), "quarter": (1, 4, 7, 10), "year": (1,)}


def working_days(calendar: WorkingCalendar, year: int, month: int) -> list[date]:
    days = [date(year, month, 1) + timedelta(days=n) for n in range(31)]
    return [
        day
        for day in days
        if day.month == month and day.weekday() not in calendar.weekend and day not in calendar.holidays
    ]


@settings(max_examples=40)
@given(
    CALENDARS, DAYS, st.sampled_from(["first", "2nd", "third", "last"]), st.sampled_from(["month", "quarter", "year"])
)
def test_a_working_day_of_a_month_is_counted_with_the_holidays(
    calendar: WorkingCalendar, day: date, place: str, period: str
) -> None:
    timing = parse_timing(f"{place} working day of the {period} at 18:00", Calendars({"uk": calendar}))
    expected = []
    for year in range(2024, 2030):
        for month in (ENDS if place == "last" else BEGINS)[period]:
            found = working_days(calendar, year, month)
            expected.append(found[{"first": 0, "2nd": 1, "third": 2, "last": -1}[place]])
    moment = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    due = timing.next_after(moment)
    assert due is not None
    assert due.date() == next(one for one in expected if one >= day)
    assert due.hour == 18
    assert timing.last_until(due) == due


@pytest.mark.parametrize("text", ["working days", "working days at 18:00", "last working day of the month"])
def test_a_calendar_without_a_working_day_is_refused(text: str) -> None:
    """It would never be due, which must not mean always."""
    calendars = Calendars({"uk": WorkingCalendar(frozenset(range(7)))})
    with pytest.raises(ValueError, match="never occurs: the calendar's weekend is the whole week"):
        parse_timing(text, calendars)


@settings(max_examples=40)
@given(CALENDARS, DAYS)
def test_working_days_and_holidays_cover_what_is_no_weekend(calendar: WorkingCalendar, day: date) -> None:
    calendars = Calendars({"uk": calendar})
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    on_working = parse_quiet(["working days (uk) 08:00-18:00"], calendars).until(noon) is not None
    on_holidays = bool(calendar.holidays) and parse_quiet(["holidays"], calendars).until(noon) is not None
    assert on_working == (day.weekday() not in calendar.weekend and day not in calendar.holidays)
    assert on_holidays == (day in calendar.holidays)
    if on_working:
        assert parse_timing("working days at 12:00", calendars).next_after(noon - timedelta(minutes=1)) == noon


@pytest.mark.parametrize(
    ("text", "names", "why"),
    [
        ("working days (fr)", ["uk"], "no calendar is called 'fr' (the map has uk)"),
        ("working days (uk)", [], "the map has none"),
        ("last working day of the month", ["de", "uk"], "several calendars (de, uk); name one"),
        ("15th working day of the month", ["uk"], "not every month has 15th working day"),
        ("31st of the month", ["uk"], "is not a valid timing"),
        ("holidays at 09:00", ["uk"], "is not a valid timing"),
    ],
)
def test_days_that_are_not_known_are_refused(text: str, names: list[str], why: str) -> None:
    with pytest.raises(ValueError) as refused:
        parse_timing(text, Calendars(dict.fromkeys(names, WorkingCalendar())))
    assert why in str(refused.value)


def test_where_no_calendar_is_known_working_days_are_refused() -> None:
    with pytest.raises(ValueError, match="needs a calendar"):
        parse_timing("working days at 09:00")
    assert parse_schedule("weekdays at 09:00").next_after(datetime(2026, 3, 13, 12, tzinfo=UTC)) == datetime(
        2026, 3, 16, 9, tzinfo=UTC
    )


@pytest.mark.parametrize(
    "text", ["", "22:00", "22:00-22:00", "25:00-26:00", "soon 10:00-11:00", "22:00-06:00 Mars/Base"]
)
def test_what_is_no_quiet_hours_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match=r"write|is called"):
        parse_quiet([text], Calendars())


@given(st.text(max_size=40))
def test_any_text_is_quiet_hours_or_a_value_error(text: str) -> None:
    try:
        parse_quiet([text], Calendars()).until(datetime(2026, 1, 1, tzinfo=UTC))
    except ValueError:
        return


ICS = """BEGIN:VCALENDAR
BEGIN:VEVENT
DTSTART;VALUE=DATE:20261225
DTEND;VALUE=DATE:20261227
SUMMARY:Christmas and
  Boxing Day
END:VEVENT
BEGIN:VEVENT
DTSTART;VALUE=DATE:20200101
RRULE:FREQ=YEARLY
EXDATE;VALUE=DATE:20270101
END:VEVENT
BEGIN:VEVENT
DTSTART;VALUE=DATE:20260501
STATUS:CANCELLED
END:VEVENT
END:VCALENDAR
"""


def test_holidays_are_read_from_both_kinds_of_file(tmp_path: Path) -> None:
    (tmp_path / "uk.ics").write_text(ICS.replace("\n", "\r\n"))
    found = read_holidays(tmp_path / "uk.ics")
    assert {date(2026, 12, 25), date(2026, 12, 26), date(2026, 1, 1), date(2028, 1, 1)} <= found
    assert not {date(2026, 12, 27), date(2027, 1, 1), date(2026, 5, 1), date(2019, 1, 1)} & found
    (tmp_path / "uk.csv").write_text("﻿date;name\n2026-12-25;Christmas\n\n# works council\n2026-12-28;\n")
    assert read_holidays(tmp_path / "uk.csv") == {date(2026, 12, 25), date(2026, 12, 28)}


@pytest.mark.parametrize(
    ("name", "text", "line", "why"),
    [
        ("a.csv", "date\n25/12/2026\n", 2, "'25/12/2026' is no date"),
        ("a.csv", "2026-12-25\n2026-02-30\n", 2, "'2026-02-30' is no date"),
        ("a.csv", "date\n,Christmas\n", 2, "no date in the first column"),
        ("a.csv", "03.10.2026\n", 1, "'03.10.2026' is no date"),
        ("a.ics", ICS.replace("20261225", "20261225T080000Z"), 3, "is no date"),
        ("a.ics", ICS.replace("FREQ=YEARLY", "FREQ=NOW"), 10, "can't be read"),
        ("a.ics", "BEGIN:VEVENT\nEND:VEVENT\n", 2, "no DTSTART"),
        ("a.csv", "x" * 1_000_001, 1, "larger than"),
    ],
)
def test_a_line_that_is_no_holiday_is_named(tmp_path: Path, name: str, text: str, line: int, why: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(WrongHoliday, match=why) as refused:
        read_holidays(tmp_path / name)
    assert refused.value.line == line


@settings(max_examples=60)
@given(st.binary(max_size=200), st.sampled_from(["a.csv", "a.ics"]))
def test_any_file_is_holidays_or_a_named_line(tmp_path_factory: pytest.TempPathFactory, data: bytes, name: str) -> None:
    file = tmp_path_factory.getbasetemp() / name
    file.write_bytes(b"BEGIN:VEVENT\nDTSTART:" + data if name == "a.ics" else data)
    try:
        read_holidays(file)
    except WrongHoliday:
        return
