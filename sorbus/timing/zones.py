"""Times of day in a time zone as moments, also on the days when the clocks change (RFC 5545, section 3.3.5).

A time that doesn't exist is read with the offset before the change, so that 02:30 becomes 03:30; of one that comes
twice the first is meant.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_SECOND = timedelta(seconds=1)


def check_zone(text: str, name: str) -> str:
    """The time zone's name; ValueError if there is none of that name."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"{text!r}: no time zone is called {name!r}; write one such as Europe/London") from error
    return name


def moment_in(zone: ZoneInfo, local: datetime) -> datetime:
    """The moment of a time (naive) of a zone, in UTC."""
    return local.replace(tzinfo=zone, fold=0).astimezone(UTC)


def all_moments_in(zone: ZoneInfo, local: datetime) -> Iterator[datetime]:
    """Each moment at which the clock shows this: none, one or two."""
    first, second = _both(zone, local)
    if first <= second:
        yield first
        if second != first:
            yield second


def first_moment(zone: ZoneInfo, local: datetime) -> datetime:
    """The first moment of that day at which the clock shows this time or a later one."""
    first, second = _both(zone, local)
    return first if first <= second else _change_between(zone, second, first)


def last_moment(zone: ZoneInfo, local: datetime) -> datetime:
    """The moment after the last one of that day at which the clock shows an earlier time than this."""
    first, second = _both(zone, local - _SECOND)
    return second + _SECOND if first <= second else _change_between(zone, second, first)


def _both(zone: ZoneInfo, local: datetime) -> tuple[datetime, datetime]:
    """By the offset before a change of the clocks, and by that after it; in order unless the time doesn't exist."""
    return moment_in(zone, local), local.replace(tzinfo=zone, fold=1).astimezone(UTC)


def _change_between(zone: ZoneInfo, early: datetime, late: datetime) -> datetime:
    before = early.astimezone(zone).utcoffset()
    while late - early > _SECOND:
        middle = (early + (late - early) / 2).replace(microsecond=0)
        if middle.astimezone(zone).utcoffset() == before:
            early = middle
        else:
            late = middle
    return late
