"""When something runs: `real-time`, `every 15m`, `cron 0 2 * * * Europe/London`, `last working day of the month`."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from itertools import islice
from zoneinfo import ZoneInfo

from sorbus.calendar_limits import EPOCH
from sorbus.timing.calendars import Calendars
from sorbus.timing.days import CronDays, DayRule, parse_days
from sorbus.timing.duration import parse_duration
from sorbus.timing.zones import all_moments_in, check_zone, moment_in

FIX = "write real-time, every 15m (s, m, h or d), cron 0 2 * * * Europe/London, or days: working days at 18:00"
SCHEDULE_FIX = (
    "write daily, weekdays, working days, weekly, monthly, quarterly, yearly, Monday and Thursday, first Monday of the"
    " month, last working day of the month, 15th of the month, every 14d, cron 0 9 * * 1 or on demand; after the day,"
    " if wanted: before 09:00 Europe/London"
)
_ON_DEMAND = ("on demand", "when needed")
_LONGEST = timedelta(days=366)
_TIMES = re.compile(
    r"(.+?)(?:\s+(?:before|by|at))?\s+(\d{1,2}:\d{2}(?:(?:\s*,\s*(?:and\s+)?|\s+and\s+)\d{1,2}:\d{2})*)(?:\s+(\S+))?"
)
_ZONE = re.compile(r"(.+?)\s+((?:[A-Za-z_+-]+/)[\w+/-]+|UTC)")
_BACK = (timedelta(days=3), timedelta(days=40), timedelta(days=400), timedelta(days=3000))
"""How far the last time is looked for: the longest gap is eight years, between two 29ths of February."""


@dataclass(frozen=True, slots=True)
class Timing:
    """A schedule, read. With neither `every` nor `days` it is real-time, or on demand: nothing is ever due.

    `times`: minutes of the day; none: the end of the day. `is_continuous`: a cron line for every hour, which also runs
    in an hour that the clocks repeat.
    """

    text: str
    every: timedelta | None = None
    days: DayRule | None = None
    times: tuple[int, ...] = ()
    zone: str = "UTC"
    is_continuous: bool = False
    is_on_demand: bool = False

    @property
    def is_real_time(self) -> bool:
        return self.every is None and self.days is None and not self.is_on_demand

    def next_after(self, moment: datetime) -> datetime | None:
        """The first time to run after `moment` (aware), in UTC; None for real-time (at once) and on demand (never).

        Intervals are counted from midnight UTC of 1970-01-01, so that a restart does not shift them.
        """
        if self.every is not None:
            return EPOCH + ((moment - EPOCH) // self.every + 1) * self.every
        days = self._days_from(moment - timedelta(days=2))
        for day in days:
            dues = _moments(self, day)
            if (place := bisect_right(dues, moment)) < len(dues):
                # The day after may begin with an earlier one where the clocks skipped hours.
                after = (due for following in islice(days, 1) for due in _moments(self, following) if due > moment)
                return min(dues[place], next(after, dues[place]))
        return None

    def last_until(self, moment: datetime) -> datetime | None:
        """The last time to run at or before `moment` (aware), in UTC; None for real-time and on demand."""
        if self.every is not None:
            return EPOCH + (moment - EPOCH) // self.every * self.every
        for back in _BACK:
            last = None
            for day in self._days_from(moment - back):
                dues = _moments(self, day)
                if dues and (place := bisect_right(dues, moment)):
                    last = dues[place - 1] if last is None else max(last, dues[place - 1])
                if dues and dues[0] > moment + timedelta(days=2):
                    break
            if last is not None:
                return last
        return None

    def still_due(self, due: datetime, now: datetime) -> datetime:
        """`due` of an earlier `next_after`, unless the clock was set back since: then the next time by the new clock.

        A clock set back by less than the schedule's step changes nothing, so no run is repeated; one that was years
        ahead for a moment would otherwise delay the schedule for years.
        """
        first = self.next_after(now)
        second = first and self.next_after(first)
        return first if first is not None and second is not None and due > second else due

    def has_run(self, at: datetime, due: datetime, now: datetime) -> bool:
        """Whether a run that began at `at` was that of `due`, a time that has passed.

        One from beyond the next time to run was noted by a clock that was ahead then, and says nothing.
        """
        following = self.next_after(now)
        return due <= at and (following is None or at < following)

    def longest_pause(self, now: datetime) -> float:
        """The longest time between two runs from `now` on, in seconds: 0 for real-time, a weekend for weekdays."""
        if self.every is not None:
            return self.every.total_seconds()
        longest, before, moment = timedelta(), None, now
        # Two months of a daily schedule, or years of a monthly one, cover every irregularity of a cron line.
        for _ in range(62):
            after = self.next_after(moment)
            if after is None:
                return 0.0
            longest = max(longest, after - before) if before is not None else longest
            before = moment = after
        return longest.total_seconds()

    def _days_from(self, moment: datetime) -> Iterator[date]:
        return self.days.days(moment.astimezone(ZoneInfo(self.zone)).date()) if self.days is not None else iter(())


@lru_cache(maxsize=256)
def _moments(timing: Timing, day: date) -> tuple[datetime, ...]:
    """The times of one day, in UTC and in order."""
    zone = ZoneInfo(timing.zone)
    if not timing.times:
        return (moment_in(zone, datetime.combine(day, time()) + timedelta(days=1)),)
    written = [datetime.combine(day, time(*divmod(minute, 60))) for minute in timing.times]
    if timing.is_continuous:
        return tuple(sorted(moment for local in written for moment in all_moments_in(zone, local)))
    return tuple(sorted({moment_in(zone, local) for local in written}))


def parse_timing(text: str, calendars: Calendars | None = None) -> Timing:
    """Parses when a flow, or a read, is to run; ValueError says what is wrong and what to write.

    `calendars` None: where it is written the map's calendars aren't known, and working days are refused.
    """
    written = " ".join(text.split())
    if written in ("real-time", "realtime"):
        return Timing(text)
    found = _parse(text, written, calendars)
    if found is None:
        raise ValueError(f"{text!r} is not a valid timing; {FIX}")
    return found


def parse_schedule(text: str, calendars: Calendars | None = None) -> Timing:
    """Parses when people's work, or a comparison, is due: as `parse_timing`, but on demand in place of real-time."""
    written = " ".join(text.split())
    if written.lower() in _ON_DEMAND:
        return Timing(text, is_on_demand=True)
    found = _parse(text, written, calendars)
    if found is None:
        raise ValueError(f"{text!r} is not a valid schedule; {SCHEDULE_FIX}")
    return found


def _parse(text: str, written: str, calendars: Calendars | None) -> Timing | None:
    plain = written.lower()
    if plain.startswith("cron "):
        return _parse_cron(text, written.split(" ")[1:])
    if re.fullmatch(r"every \d+\s*[smhd]", plain):
        return _parse_interval(text, plain.removeprefix("every "))
    days, times, zone = _split_times(text, written)
    try:
        rule = parse_days(days, calendars)
    except ValueError as error:
        raise ValueError(f"{text!r}: {error}") from error
    return None if rule is None else Timing(text, days=rule, times=times, zone=zone)


def _parse_interval(text: str, length: str) -> Timing:
    try:
        every = timedelta(seconds=parse_duration(length))
    except (ValueError, OverflowError):
        every = timedelta()
    if not timedelta(0) < every <= _LONGEST:
        raise ValueError(f"{text!r}: the interval must be between 1s and 366d; {FIX}")
    return Timing(text, every=every)


def _split_times(text: str, written: str) -> tuple[str, tuple[int, ...], str]:
    found = _TIMES.fullmatch(written)
    if not found:
        placed = _ZONE.fullmatch(written)
        return (placed[1], (), check_zone(text, placed[2])) if placed else (written, (), "UTC")
    times = []
    for hour, minute in re.findall(r"(\d{1,2}):(\d{2})", found[2]):
        if int(hour) > 23 or int(minute) > 59:
            raise ValueError(f"{text!r}: there is no time of day {hour}:{minute}; {SCHEDULE_FIX}")
        times.append(int(hour) * 60 + int(minute))
    return found[1], tuple(sorted(set(times))), check_zone(text, found[3] or "UTC")


def _parse_cron(text: str, words: list[str]) -> Timing:
    from croniter import CroniterBadDateError, croniter

    expression, zone = " ".join(words[:5]), words[5:]
    # R and H stand for a random time in croniter, another one at each start.
    is_random = any(mark in word.upper() for word in words[:2] for mark in "RH")
    if len(words) < 5 or len(zone) > 1 or is_random or not croniter.is_valid(expression):
        raise ValueError(
            f"{text!r}: cron takes five fields (minute hour day month weekday) and, if wanted, a time zone; {FIX}"
        )
    name = check_zone(text, zone[0] if zone else "UTC")
    [minutes, hours], rule = croniter.expand(expression)[0][:2], CronDays(" ".join(words[2:5]))
    times = tuple(hour * 60 + minute for hour in _numbers(hours, 24) for minute in _numbers(minutes, 60))
    try:
        next(rule.days(EPOCH.date()))
    except CroniterBadDateError as error:
        raise ValueError(f"{text!r} never occurs (there is no such day); {FIX}") from error
    return Timing(text, days=rule, times=times, zone=name, is_continuous=hours == ["*"])


def _numbers(field: list[int | str], size: int) -> list[int]:
    return list(range(size)) if field == ["*"] else sorted({int(each) for each in field})
