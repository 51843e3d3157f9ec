"""When a flow runs: `real-time`, `every 15m` or `cron 0 2 * * * Europe/London`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sorbus.calendar_limits import EPOCH

FIX = "write real-time, every 15m (s, m, h or d), or cron 0 2 * * * Europe/London"

_EVERY = re.compile(r"every\s+(\d{1,6})\s*(s|m|h|d)")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_LONGEST = timedelta(days=366)


@dataclass(frozen=True, slots=True)
class Timing:
    """A flow's timing, read. With neither `every` nor `cron` it is real-time."""

    text: str
    every: timedelta | None = None
    cron: str | None = None
    timezone: str = "UTC"

    @property
    def is_real_time(self) -> bool:
        return self.every is None and self.cron is None

    def next_after(self, moment: datetime) -> datetime | None:
        """The first time to run after `moment` (aware), in UTC; None means at once.

        Intervals are counted from midnight UTC of 1970-01-01, so that a restart does not shift them.
        """
        if self.every is not None:
            return EPOCH + ((moment - EPOCH) // self.every + 1) * self.every
        if self.cron is not None:
            from croniter import croniter

            local = moment.astimezone(ZoneInfo(self.timezone))
            return croniter(self.cron, local).get_next(datetime).astimezone(UTC)  # type: ignore[no-any-return]
        return None

    def still_due(self, due: datetime, now: datetime) -> datetime:
        """`due` of an earlier `next_after`, unless the clock was set back since: then the next time by the new clock.

        A clock set back by less than the schedule's step changes nothing, so no run is repeated; one that was years
        ahead for a moment would otherwise delay the schedule for years.
        """
        first = self.next_after(now)
        second = first and self.next_after(first)
        return first if first is not None and second is not None and due > second else due

    def last_until(self, moment: datetime) -> datetime | None:
        """The last time to run at or before `moment` (aware), in UTC; None for real-time."""
        if self.every is not None:
            return EPOCH + (moment - EPOCH) // self.every * self.every
        if self.cron is not None:
            from croniter import croniter

            local = (moment + timedelta(microseconds=1)).astimezone(ZoneInfo(self.timezone))
            return croniter(self.cron, local).get_prev(datetime).astimezone(UTC)  # type: ignore[no-any-return]
        return None


def parse_timing(text: str) -> Timing:
    """Parses a timing; ValueError says what is wrong and what to write."""
    written = " ".join(text.split())
    if written in ("real-time", "realtime"):
        return Timing(text)
    if found := _EVERY.fullmatch(written):
        every = timedelta(**{_UNITS[found[2]]: int(found[1])})
        if not timedelta(0) < every <= _LONGEST:
            raise ValueError(f"{text!r}: the interval must be between 1s and 366d; {FIX}")
        return Timing(text, every=every)
    if written.startswith("cron "):
        return _parse_cron(text, written.split(" ")[1:])
    raise ValueError(f"{text!r} is not a valid timing; {FIX}")


def _parse_cron(text: str, words: list[str]) -> Timing:
    from croniter import CroniterBadDateError, croniter

    expression, zone = " ".join(words[:5]), words[5:]
    if len(words) < 5 or len(zone) > 1 or not croniter.is_valid(expression):
        raise ValueError(
            f"{text!r}: cron takes five fields (minute hour day month weekday) and, if wanted, a time zone; {FIX}"
        )
    name = zone[0] if zone else "UTC"
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"{text!r}: no time zone is called {name!r}; write one such as Europe/London") from error
    timing = Timing(text, cron=expression, timezone=name)
    try:
        timing.next_after(EPOCH)
    except CroniterBadDateError as error:
        raise ValueError(f"{text!r} never occurs (there is no such day); {FIX}") from error
    return timing


def longest_pause(timing: str, *, now: datetime | None = None) -> float:
    """The longest time between two runs of a schedule, in seconds: 0 for real-time, a weekend for a weekday cron."""
    moment = now if now is not None else datetime.now(UTC)
    read = parse_timing(timing)
    if read.every is not None:
        return read.every.total_seconds()
    longest = timedelta()
    before = None
    # Two months of a daily schedule, or years of a monthly one, cover every irregularity of a cron line.
    for _ in range(62):
        after = read.next_after(moment)
        if after is None:
            return 0.0
        if before is not None:
            longest = max(longest, after - before)
        before = moment = after
    return longest.total_seconds()


def parse_duration(text: str) -> float:
    """`30s`, `5m`, `2h`, `1d` in seconds; ValueError says what to write."""
    found = _EVERY.fullmatch(f"every {text.strip()}")
    if not found:
        raise ValueError(f"{text!r} is not a valid duration; write 30s, 5m, 2h or 1d")
    return timedelta(**{_UNITS[found[2]]: int(found[1])}).total_seconds()
