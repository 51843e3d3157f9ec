"""Points in time out of numbers that others wrote: whatever they are, within the calendar, in any time zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TICK = timedelta(microseconds=1)
FIRST_TICK, LAST_TICK = ((end.replace(tzinfo=UTC) - EPOCH) // _TICK for end in (datetime.min, datetime.max))
"""Microseconds since 1970 that `datetime` can hold, in UTC."""
_DAY = timedelta(days=1) // _TICK
_FIRST, _LAST = FIRST_TICK + _DAY, LAST_TICK - _DAY  # no time zone leads out of the calendar from there


def within_calendar(micros: float) -> int:
    """Microseconds since 1970, a day within the calendar's ends at least; 0 for what is not a valid number (NaN)."""
    return int(min(max(micros, _FIRST), _LAST)) if micros == micros else 0


def moment_of(micros: float) -> datetime:
    """The point in time (UTC) so many microseconds after 1970; one off the calendar is its nearest end."""
    return EPOCH + timedelta(microseconds=within_calendar(micros))
