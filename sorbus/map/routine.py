"""Schedules of manual work: `Monday before 09:00`, `first Monday of the month`, `cron 0 9 * * 1`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from itertools import takewhile
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dateutil.rrule import DAILY, FR, MO, MONTHLY, SA, SU, TH, TU, WE, WEEKLY, YEARLY, rrule, weekday

from sorbus.mapfile.timing import Timing, parse_timing

FIX = (
    "write daily, weekdays, weekly, monthly, quarterly, yearly, Monday and Thursday, first Monday of the month, last"
    " working day of the month, 15th of the month, every 14d, cron 0 9 * * 1 or on demand; after the day, if wanted:"
    " before 09:00 Europe/London"
)
_ON_DEMAND = ("on demand", "when needed")
_DAYS = {"monday": MO, "tuesday": TU, "wednesday": WE, "thursday": TH, "friday": FR, "saturday": SA, "sunday": SU}
_WORKING = (MO, TU, WE, TH, FR)
_PLACES = {"first": 1, "second": 2, "third": 3, "fourth": 4, "last": -1}
_TIME = re.compile(r"(.+?)(?:\s+(?:before|by|at))?\s+(\d{1,2}):(\d{2})(?:\s+([\w+/-]+))?")
_OF_MONTH = re.compile(
    r"(?:the )?(?:(first|second|third|fourth|last) (.+)|(\d{1,2})(?:st|nd|rd|th)) of (?:the|each|every) month"
)
_LONG = timedelta(days=400)
"""Longer than any gap between two days of a rule, so looking back this far finds one."""


@dataclass(frozen=True, slots=True)
class _Rule:
    """Which days, as arguments of dateutil's rrule (RFC 5545)."""

    frequency: int
    weekdays: tuple[weekday, ...] | None = None
    month_day: int | None = None
    months: tuple[int, ...] | None = None
    place: int | None = None

    def days(self, start: datetime) -> rrule:
        """The days from `start` (naive) on."""
        return rrule(
            self.frequency,
            dtstart=start,
            byweekday=self.weekdays,
            bymonthday=self.month_day,
            bymonth=self.months,
            bysetpos=self.place,
        )


_NAMED = {
    "daily": _Rule(DAILY),
    "day": _Rule(DAILY),
    "weekdays": _Rule(WEEKLY, _WORKING),
    "weekday": _Rule(WEEKLY, _WORKING),
    "working day": _Rule(WEEKLY, _WORKING),
    "weekly": _Rule(WEEKLY, (FR,)),
    "week": _Rule(WEEKLY, (FR,)),
    "monthly": _Rule(MONTHLY, month_day=-1),
    "month": _Rule(MONTHLY, month_day=-1),
    "quarterly": _Rule(MONTHLY, month_day=-1, months=(3, 6, 9, 12)),
    "quarter": _Rule(MONTHLY, month_day=-1, months=(3, 6, 9, 12)),
    "yearly": _Rule(YEARLY, month_day=31, months=(12,)),
    "year": _Rule(YEARLY, month_day=31, months=(12,)),
}


@dataclass(frozen=True, slots=True)
class Routine:
    """A parsed schedule of manual work: each of its times is a deadline.

    A day without a time means the end of that day; `weekly`, `monthly` and so on the end of the last working day, or
    of the last day, of each. With neither `rule` nor `timing` the work is done on demand and never due.
    """

    text: str
    rule: _Rule | None = None
    at: time | None = None
    zone: str = "UTC"
    timing: Timing | None = None

    @property
    def is_on_demand(self) -> bool:
        return self.rule is None and self.timing is None

    def next_after(self, moment: datetime) -> datetime | None:
        """The first deadline after `moment` (aware), in UTC; None if on demand."""
        if self.timing is not None:
            return self.timing.next_after(moment)
        return next((due for due in self._dues(moment - timedelta(days=2)) if due > moment), None)

    def last_until(self, moment: datetime) -> datetime | None:
        """The last deadline at or before `moment`; None if on demand."""
        if self.timing is not None:
            return self.timing.last_until(moment)
        return max(takewhile(lambda due: due <= moment, self._dues(moment - _LONG)), default=None)

    def _dues(self, start: datetime) -> Iterator[datetime]:
        if self.rule is not None:
            zone = ZoneInfo(self.zone)
            for day in self.rule.days(datetime.combine(start.astimezone(zone).date(), time())):
                yield self._due(day, zone)

    def _due(self, day: datetime, zone: ZoneInfo) -> datetime:
        local = datetime.combine(day.date(), self.at) if self.at else day + timedelta(days=1)
        return local.replace(tzinfo=zone).astimezone(UTC)


def parse_routine(text: str) -> Routine:
    """Parses a schedule; ValueError says what to write."""
    written = " ".join(text.split())
    plain = written.lower()
    if plain in _ON_DEMAND:
        return Routine(text)
    if plain.startswith("cron ") or re.fullmatch(r"every \d+\s*[smhd]", plain):
        return Routine(text, timing=parse_timing(written))
    days, at, zone = _split_time(text, written)
    rule = _read_days(days.lower())
    if rule is None:
        raise ValueError(f"{text!r} is not a valid schedule; {FIX}")
    return Routine(text, rule, at, zone)


def _split_time(text: str, written: str) -> tuple[str, time | None, str]:
    found = _TIME.fullmatch(written)
    if not found:
        return written, None, "UTC"
    days, hour, minute, zone = found[1], int(found[2]), int(found[3]), found[4] or "UTC"
    if hour > 23 or minute > 59:
        raise ValueError(f"{text!r}: there is no time of day {found[2]}:{found[3]}; {FIX}")
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"{text!r}: no time zone is called {zone!r}; write one such as Europe/London") from error
    return days, time(hour, minute), zone


def _read_days(days: str) -> _Rule | None:
    if found := _OF_MONTH.fullmatch(days):
        return _of_month(found[1], found[2], found[3])
    days = days.removeprefix("on ").removeprefix("every ").removeprefix("each ")
    if (named := _NAMED.get(days)) is not None:
        return named
    names = [name.removesuffix("s") for name in re.split(r",\s*and\s+|\s+and\s+|,\s*", days)]
    return _Rule(WEEKLY, tuple(_DAYS[name] for name in names)) if all(name in _DAYS for name in names) else None


def _of_month(place: str | None, day: str | None, number: str | None) -> _Rule | None:
    if place is None or day is None:
        return _Rule(MONTHLY, month_day=int(number)) if number and 1 <= int(number) <= 28 else None
    if day == "day":
        return _Rule(MONTHLY, month_day=_PLACES[place])
    if day in ("working day", "weekday"):
        return _Rule(MONTHLY, _WORKING, place=_PLACES[place])
    return _Rule(MONTHLY, (_DAYS[day],), place=_PLACES[place]) if day in _DAYS else None
