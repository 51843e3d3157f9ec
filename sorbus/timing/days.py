"""Which days: `weekdays`, `Monday and Thursday`, `first Monday of the month`, `last working day of the month (uk)`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Protocol

from dateutil.rrule import DAILY, FR, MO, MONTHLY, SA, SU, TH, TU, WE, WEEKLY, YEARLY, rrule, weekday

from sorbus.timing.calendars import Calendars, WorkingCalendar

_DAY = timedelta(days=1)
_NAMES = {"monday": MO, "tuesday": TU, "wednesday": WE, "thursday": TH, "friday": FR, "saturday": SA, "sunday": SU}
_ORDER = tuple(_NAMES)
_WORKING = (MO, TU, WE, TH, FR)
_PLACES = {"first": 1, "second": 2, "third": 3, "fourth": 4, "last": -1}
_MOST_WORKING = 10
"""The highest working day that every month has, whatever its holidays."""
_MONTHS = {"month": tuple(range(1, 13)), "quarter": (3, 6, 9, 12), "year": (12,)}
_BEGINS = {"month": tuple(range(1, 13)), "quarter": (1, 4, 7, 10), "year": (1,)}
_CALENDAR = re.compile(r"(.+?)\s*\(\s*([\w-]+)\s*\)")
_OF_MONTH = re.compile(
    r"(?:the )?(?:(first|second|third|fourth|last|\d{1,2}(?:st|nd|rd|th)) (.+)|(\d{1,2})(?:st|nd|rd|th))"
    r" of (?:the|each|every) (month|quarter|year)"
)


class DayRule(Protocol):
    """Some of all days."""

    def days(self, start: date) -> Iterator[date]:
        """Those from `start` on, in order."""


def falls_on(rule: DayRule, day: date) -> bool:
    """Whether a day is one of the rule's."""
    return next(rule.days(day), None) == day


@dataclass(frozen=True, slots=True)
class RecurringDays:
    """Days as arguments of dateutil's rrule (RFC 5545)."""

    frequency: int
    weekdays: tuple[weekday, ...] | None = None
    month_day: int | None = None
    months: tuple[int, ...] | None = None
    place: int | None = None

    def days(self, start: date) -> Iterator[date]:
        found = rrule(
            self.frequency,
            dtstart=datetime.combine(start, datetime.min.time()),
            byweekday=self.weekdays,
            bymonthday=self.month_day,
            bymonth=self.months,
            bysetpos=self.place,
        )
        return (day.date() for day in found)


@dataclass(frozen=True, slots=True)
class WorkingDays:
    """The days on which a calendar's people work."""

    calendar: WorkingCalendar

    def days(self, start: date) -> Iterator[date]:
        day = start
        while day < date.max:
            if self.calendar.is_working_day(day):
                yield day
            day += _DAY


@dataclass(frozen=True, slots=True)
class WorkingDayOfMonth:
    """One working day of each of these months: the `place`th, from 1, or with -1 the last."""

    calendar: WorkingCalendar
    place: int
    months: tuple[int, ...]

    def days(self, start: date) -> Iterator[date]:
        year, month = start.year, start.month
        while year < date.max.year:
            if month in self.months:
                working = self._working(year, month)
                place = self.place if self.place < 0 else self.place - 1
                if -len(working) <= place < len(working) and working[place] >= start:
                    yield working[place]
            year, month = (year, month + 1) if month < 12 else (year + 1, 1)

    def _working(self, year: int, month: int) -> list[date]:
        days = (date(year, month, 1) + n * _DAY for n in range(31))
        return [day for day in days if day.month == month and self.calendar.is_working_day(day)]


@dataclass(frozen=True, slots=True)
class Holidays:
    """A calendar's holidays."""

    calendar: WorkingCalendar

    def days(self, start: date) -> Iterator[date]:
        return iter(sorted(day for day in self.calendar.holidays if day >= start))


@dataclass(frozen=True, slots=True)
class CronDays:
    """The days of a cron line: its fields day, month and weekday."""

    fields: str

    def days(self, start: date) -> Iterator[date]:
        if self.fields == "* * *":
            yield from (start + n * _DAY for n in range((date.max - start).days))
            return
        from croniter import croniter

        before = datetime.combine(start, datetime.min.time()) - timedelta(seconds=1)
        steps = croniter(f"0 0 {self.fields}", before)
        while True:
            yield steps.get_next(datetime).date()


_RECURRING = {
    "daily": RecurringDays(DAILY),
    "day": RecurringDays(DAILY),
    "weekdays": RecurringDays(WEEKLY, _WORKING),
    "weekday": RecurringDays(WEEKLY, _WORKING),
    "weekends": RecurringDays(WEEKLY, (SA, SU)),
    "weekend": RecurringDays(WEEKLY, (SA, SU)),
    "weekly": RecurringDays(WEEKLY, (FR,)),
    "week": RecurringDays(WEEKLY, (FR,)),
    "monthly": RecurringDays(MONTHLY, month_day=-1),
    "month": RecurringDays(MONTHLY, month_day=-1),
    "quarterly": RecurringDays(MONTHLY, month_day=-1, months=_MONTHS["quarter"]),
    "quarter": RecurringDays(MONTHLY, month_day=-1, months=_MONTHS["quarter"]),
    "yearly": RecurringDays(YEARLY, month_day=31, months=(12,)),
    "year": RecurringDays(YEARLY, month_day=31, months=(12,)),
}


def parse_days(text: str, calendars: Calendars | None) -> DayRule | None:
    """Reads which days; None if it names none. ValueError for a calendar that isn't known.

    `calendars` None: where it is written no calendar is known, so that working days and holidays are refused.
    """
    name = None
    if found := _CALENDAR.fullmatch(text.strip()):
        text, name = found[1], found[2]
    plain = " ".join(text.lower().split())
    if (rule := _of_calendar(plain, calendars, name)) is not None:
        return rule
    if name is not None:
        return None
    if found := _OF_MONTH.fullmatch(plain):
        return _of_month(found[1], found[2], found[3], found[4])
    plain = plain.removeprefix("on ").removeprefix("every ").removeprefix("each ")
    if (named := _RECURRING.get(plain)) is not None:
        return named
    return _of_week(plain)


def parse_holidays(text: str, calendars: Calendars | None) -> DayRule | None:
    """`holidays` and `holidays (uk)`; None for other days. ValueError where there are none to know."""
    found = _CALENDAR.fullmatch(text.strip())
    plain, name = (found[1], found[2]) if found else (text.strip(), None)
    if plain.lower() not in ("holiday", "holidays"):
        return None
    calendar = _calendar(plain, calendars, name)
    if not calendar.holidays:
        raise ValueError("there are no holidays to know; write a file of them under `calendars:`")
    return Holidays(calendar)


def _of_week(plain: str) -> DayRule | None:
    if len(ends := [one.removesuffix("s") for one in plain.split(" to ")]) == 2 and all(one in _NAMES for one in ends):
        first, last = (_ORDER.index(one) for one in ends)
        return RecurringDays(WEEKLY, tuple(_NAMES[_ORDER[n % 7]] for n in range(first, first + (last - first) % 7 + 1)))
    names = [one.removesuffix("s") for one in re.split(r",\s*and\s+|\s+and\s+|,\s*", plain)]
    return RecurringDays(WEEKLY, tuple(_NAMES[one] for one in names)) if all(one in _NAMES for one in names) else None


def _of_calendar(plain: str, calendars: Calendars | None, name: str | None) -> DayRule | None:
    """Rules that need to know who works when."""
    bare = plain.removeprefix("on ").removeprefix("every ").removeprefix("each ")
    if bare in ("working day", "working days"):
        return WorkingDays(_calendar(plain, calendars, name))
    found = _OF_MONTH.fullmatch(plain)
    if found is None or found[2] not in ("working day",):
        return None
    place = _PLACES.get(found[1]) or int(found[1][:-2])
    if not (place == -1 or 1 <= place <= _MOST_WORKING):
        raise ValueError(f"not every month has {found[1]} working day; write one up to the {_MOST_WORKING}th, or last")
    months = _MONTHS[found[4]] if place < 0 else _BEGINS[found[4]]
    return WorkingDayOfMonth(_calendar(plain, calendars, name), place, months)


def _calendar(plain: str, calendars: Calendars | None, name: str | None) -> WorkingCalendar:
    if calendars is None:
        raise ValueError(f"{plain!r} needs a calendar, and none is known here; write weekdays or a cron line")
    calendar = calendars.of(name)
    if len(calendar.weekend) == len(_ORDER):
        raise ValueError(f"{plain!r} never occurs: the calendar's weekend is the whole week; leave days out of it")
    return calendar


def _of_month(place: str | None, day: str | None, number: str | None, period: str) -> DayRule | None:
    is_last = place == "last"
    months = None if period == "month" else (_MONTHS if is_last else _BEGINS)[period]
    if place is None or day is None:
        return (
            RecurringDays(MONTHLY, month_day=int(number), months=months) if number and 1 <= int(number) <= 28 else None
        )
    if place not in _PLACES:
        return None
    if day == "day":
        return RecurringDays(MONTHLY, month_day=_PLACES[place], months=months)
    if day == "weekday":
        return RecurringDays(MONTHLY, _WORKING, months=months, place=_PLACES[place])
    return RecurringDays(MONTHLY, (_NAMES[day],), months=months, place=_PLACES[place]) if day in _NAMES else None
