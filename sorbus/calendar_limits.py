"""Timestamps from untrusted numbers, clamped to the range of `datetime` in any time zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TICK = timedelta(microseconds=1)
FIRST_TICK, LAST_TICK = ((end.replace(tzinfo=UTC) - EPOCH) // _TICK for end in (datetime.min, datetime.max))
"""Smallest and largest `datetime`, in microseconds since 1970 (UTC)."""
_DAY = timedelta(days=1) // _TICK
_FIRST, _LAST = FIRST_TICK + _DAY, LAST_TICK - _DAY  # a day's margin, so that no time zone overflows


def within_calendar(micros: float) -> int:
    """Microseconds since 1970, clamped to a day within the limits of `datetime`; 0 for NaN."""
    return int(min(max(micros, _FIRST), _LAST)) if micros == micros else 0


def moment_of(micros: float) -> datetime:
    """The UTC time that many microseconds after 1970, clamped to the limits of `datetime`."""
    return EPOCH + timedelta(microseconds=within_calendar(micros))
