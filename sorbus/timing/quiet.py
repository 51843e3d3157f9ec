"""Hours in which a target isn't written to: `22:00-06:00 Europe/London`, `weekdays 08:00-18:00`, `holidays (uk)`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from sorbus.timing.calendars import Calendars
from sorbus.timing.days import DayRule, falls_on, parse_days, parse_holidays
from sorbus.timing.zones import check_zone, first_moment, last_moment

FIX = (
    "write 22:00-06:00 Europe/London, with days before it if wanted: weekdays 08:00-18:00 Europe/London, working days,"
    " Monday to Thursday, Saturday and Sunday; days alone, such as holidays, mean all of the day"
)
_WINDOW = re.compile(r"(?:(.+?)\s+)?(\d{1,2}):(\d{2})\s*(?:-|–|to)\s*(\d{1,2}):(\d{2})(?:\s+(\S+))?")
_ZONE = re.compile(r"(.+?)\s+((?:[A-Za-z_+-]+/)[\w+/-]+|UTC)")
_DAY = timedelta(days=1)
LONGEST = timedelta(days=60)
"""Quiet hours without a break for so long are a mistake: the flow would hardly ever deliver."""


class Until(NamedTuple):
    """When quiet hours end (UTC), and the time zone in which they were written."""

    moment: datetime
    zone: str


@dataclass(frozen=True, slots=True)
class QuietWindow:
    """Quiet from one time of the clock to another on these days (None: each); whole days without times.

    Minutes of the day; an end that isn't after the beginning is the next day's. The window begins when the clock first
    shows the beginning and lasts until it no longer shows less than the end, also when the clocks change.
    """

    text: str
    days: DayRule | None = None
    begin: int = 0
    end: int = 24 * 60
    zone: str = "UTC"

    def end_at(self, moment: datetime) -> datetime | None:
        """When the window that `moment` falls in ends; None outside of it."""
        today = moment.astimezone(ZoneInfo(self.zone)).date()
        for day in (today - 2 * _DAY, today - _DAY, today, today + _DAY):
            if self.days is None or falls_on(self.days, day):
                begin, end = self._span(day)
                if begin <= moment < end:
                    return end
        return None

    def _span(self, day: date) -> tuple[datetime, datetime]:
        zone, midnight = ZoneInfo(self.zone), datetime.combine(day, time())
        end = self.end if self.end > self.begin else self.end + 24 * 60
        return (
            first_moment(zone, midnight + timedelta(minutes=self.begin)),
            last_moment(zone, midnight + timedelta(minutes=end)),
        )


@dataclass(frozen=True, slots=True)
class QuietHours:
    """Several windows: it is quiet while one of them lasts."""

    windows: tuple[QuietWindow, ...] = ()

    def until(self, moment: datetime) -> Until | None:
        """Until when it is quiet at `moment` (aware), over all windows that follow each other; None: it isn't quiet."""
        found: Until | None = None
        while found is None or found.moment - moment < LONGEST:
            now = found.moment if found else moment
            ends = ((end, window.zone) for window in self.windows if (end := window.end_at(now)) is not None)
            latest = max(ends, default=None)
            if latest is None:
                break
            found = Until(*latest)
        return found


def parse_quiet(texts: Iterable[str], calendars: Calendars | None = None) -> QuietHours:
    """Parses quiet hours, a window a text; ValueError says what is wrong and what to write."""
    return QuietHours(tuple(_parse(text, calendars) for text in texts))


def _parse(text: str, calendars: Calendars | None) -> QuietWindow:
    written = " ".join(text.split())
    try:
        if found := _WINDOW.fullmatch(written):
            begin, end = _minutes(text, found[2], found[3]), _minutes(text, found[4], found[5])
            if begin == end or begin == 24 * 60:
                raise ValueError(f"it ends when it begins; {FIX}")
            days = _days(found[1], calendars) if found[1] else None
            return QuietWindow(text, days, begin, end, check_zone(text, found[6] or "UTC"))
        placed = _ZONE.fullmatch(written)
        days = _days(placed[1] if placed else written, calendars)
        return QuietWindow(text, days, zone=check_zone(text, placed[2] if placed else "UTC"))
    except ValueError as error:
        said = str(error)
        raise ValueError(said if said.startswith(repr(text)) else f"{text!r}: {said}") from error


def _days(written: str, calendars: Calendars | None) -> DayRule:
    rule = parse_holidays(written, calendars) or parse_days(written, calendars)
    if rule is None:
        raise ValueError(f"{written!r} names no days; {FIX}")
    return rule


def _minutes(text: str, hour: str, minute: str) -> int:
    minutes = int(hour) * 60 + int(minute)
    if int(minute) > 59 or minutes > 24 * 60:
        raise ValueError(f"{text!r}: there is no time of day {hour}:{minute}; {FIX}")
    return minutes


def spoken(moment: datetime, zone: str, now: datetime) -> str:
    """A moment as people say it: `06:00 Europe/London`, `Monday 06:00 UTC`, `2026-12-31 18:00 UTC`."""
    place = ZoneInfo(zone)
    local, today = moment.astimezone(place), now.astimezone(place).date()
    far = (local.date() - today).days
    day = (
        ""
        if local - now < timedelta(hours=20) and 0 <= far <= 1
        else f"{local:%A} "
        if 0 <= far < 7
        else f"{local:%Y-%m-%d} "
    )
    return f"{day}{local:%H:%M} {zone}"
