"""Filters over dates and times. The order of day and month is never guessed, a time zone never assumed."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sorbus.calendar_limits import EPOCH
from sorbus.mapping.errors import shown
from sorbus.mapping.filters.number import as_decimal
from sorbus.mapping.filters.registry import rule_filter
from sorbus.mapping.types import EXACT, FLOAT, TEXT

_SINCE = {"epoch": 1_000_000, "epoch_ms": 1_000, "epoch_us": 1}
_NAME_ZONE = 'name the time zone it was written in: datetime(tz="Europe/London")'


def zone(name: str) -> ZoneInfo:
    """The time zone called `name`; ValueError if unknown."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"no time zone is called {shown(name)}; write one such as Europe/London") from error


def _check_format(format: str) -> None:
    if format in _SINCE:
        return
    try:
        datetime.strptime(EPOCH.strftime(format), format)
    except ValueError as error:
        raise ValueError(f"{shown(format)} is not a valid date format ({error})") from error
    if not any(year in format for year in ("%Y", "%y", "%G", "%c", "%x")):
        raise ValueError(f"{shown(format)} has no year (%Y)")
    if "%Z" in format:
        # strptime parses the name and ignores it: the time would be read in another zone.
        raise ValueError(f"{shown(format)} has a zone's name (%Z), which is not read; write any_datetime instead")


@lru_cache(maxsize=4096)
def _written_as(text: str, format: str) -> datetime:
    """strptime, cached per text: dates repeat, and it takes as long as ten other filters."""
    return datetime.strptime(text, format)


Format = Annotated[str, _check_format]
ZoneName = Annotated[str, zone]


@rule_filter(takes=TEXT | {"date", "timestamp"}, gives="date", weight="middling")
def date_(value: object, format: Format = "", tz: ZoneName = "") -> date:
    """A date, from text in `format` (ISO 8601 without one): `value | date("%d/%m/%Y")`.

    The date of a timestamp needs a time zone: `value | date(tz="Europe/London")`.
    """
    if isinstance(value, datetime):
        if value.tzinfo is None:
            return value.date()
        if not tz:
            raise ValueError(f'{shown(value)} falls on different days: say where, as in date(tz="Europe/London")')
        return value.astimezone(zone(tz)).date()
    if isinstance(value, date):
        return value
    text = str(value).strip()
    try:
        if not format:
            return date.fromisoformat(text)
        return _written_as(text, format).date()
    except ValueError as error:
        raise ValueError(f"{shown(value)} is not a valid date written as {format or 'YYYY-MM-DD'}") from error


@rule_filter(takes=TEXT | EXACT | FLOAT | {"date", "timestamp"}, gives="timestamp", weight="middling")
def datetime_(value: object, format: Format = "", tz: ZoneName = "") -> datetime:
    """A timestamp: `value | datetime("%d/%m/%Y %H:%M", tz="Europe/London")`; ISO 8601 without a format.

    `tz` is the zone of times without an offset; of two readings when clocks go back, the earlier. A date
    becomes its midnight there. Numbers count from 1970: `value | datetime("epoch")`, "epoch_ms", "epoch_us".
    """
    if format in _SINCE and isinstance(value, str):
        value = as_decimal(value)
    if isinstance(value, int | float | Decimal):
        return _since_epoch(value, format)
    if isinstance(value, datetime):
        moment = value
    elif isinstance(value, date):
        moment = datetime(value.year, value.month, value.day)
    else:
        text = str(value).strip()
        try:
            moment = _written_as(text, format) if format else datetime.fromisoformat(text)
        except ValueError as error:
            wanted = format or "YYYY-MM-DDTHH:MM:SS+00:00"
            raise ValueError(f"{shown(value)} is not a valid point in time written as {wanted}") from error
    return placed(moment, tz)


def placed(moment: datetime, tz: str) -> datetime:
    """`moment` in UTC, read in `tz` if it has no offset; ValueError for a time that doesn't exist."""
    try:
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
        if not tz:
            raise ValueError(f"{shown(moment)} has no time zone; {_NAME_ZONE}")
        local = moment.replace(tzinfo=zone(tz))
        there = local.astimezone(UTC)
        if there.astimezone(local.tzinfo).replace(tzinfo=None) != moment.replace(fold=0):
            raise ValueError(f"{shown(moment)} doesn't exist in {tz}: clocks went forward over it")
    except OverflowError as error:
        raise ValueError(f"{shown(moment)} is outside the years 1 to 9999 in UTC") from error
    return there


def _since_epoch(value: float | Decimal, unit: str) -> datetime:
    if unit not in _SINCE:
        raise ValueError(f'{shown(value)} is a number: say what it counts since 1970, as in datetime("epoch")')
    count = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    if not count.is_finite() or count.adjusted() > 20:
        raise ValueError(f"{shown(value)} is outside the years 1 to 9999")
    try:
        return EPOCH + timedelta(microseconds=int(count * _SINCE[unit]))
    except OverflowError as error:
        raise ValueError(f"{shown(value)} is outside the years 1 to 9999") from error
