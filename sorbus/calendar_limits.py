"""Points in time out of numbers that others wrote: whatever they are, within the calendar, in any time zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# A day off the calendar's own ends: no time zone leads out of it.
EARLIEST, LATEST = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)
_FIRST, _LAST = ((end - EPOCH) // timedelta(microseconds=1) for end in (EARLIEST, LATEST))


def within_calendar(micros: float) -> int:
    """Microseconds since 1970, not before EARLIEST and not after LATEST; 0 for what is not a valid number (NaN)."""
    return int(min(max(micros, _FIRST), _LAST)) if micros == micros else 0


def moment_of(micros: float) -> datetime:
    """The point in time (UTC) so many microseconds after 1970; one off the calendar is its nearest end."""
    return EPOCH + timedelta(microseconds=within_calendar(micros))
