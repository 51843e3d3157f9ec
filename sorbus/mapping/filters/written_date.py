"""Dates as people write them, in any usual form, by python-dateutil: an order of day and month is never guessed."""

from __future__ import annotations

import re
from datetime import date, datetime
from functools import cache, lru_cache
from typing import Annotated

from sorbus.mapping.failure import shown
from sorbus.mapping.filters.moment import ZoneName, placed
from sorbus.mapping.filters.registry import rule_filter
from sorbus.mapping.kinds import TEXT

_ORDERS = ("DMY", "MDY", "YMD")
_NUMERIC = re.compile(r"^\s*(\d{1,4})\s*([./\-\s])\s*(\d{1,2})\s*\2\s*(\d{1,4})\b")
_ORDINAL = re.compile(r"(?<=\d)(st|nd|rd|th|\.|er|º|ª)(?=\s|,|$)", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]+\.?")
# Two days that differ in every part: what a text leaves out shows as a difference.
_ONE, _OTHER = datetime(2001, 1, 1), datetime(2002, 2, 2)


def _check_order(order: str) -> None:
    if order and order not in _ORDERS:
        raise ValueError(f"{shown(order)} is no order of day, month and year; write one of {', '.join(_ORDERS)}")


def _check_language(language: str) -> None:
    from babel import Locale, UnknownLocaleError

    try:
        Locale.parse(language.replace("-", "_"))
    except (UnknownLocaleError, ValueError):
        raise ValueError(f"{shown(language)} is no language; write one such as de") from None


Order = Annotated[str, _check_order]
Language = Annotated[str, _check_language]


@rule_filter(takes=TEXT, gives="date")
@lru_cache(maxsize=4096)
def any_date(value: str, order: Order = "", language: Language = "en") -> date:
    """A date in any usual form: `"24 Nov 2026" | any_date`, `"12. März 2026" | any_date(language="de")`.

    Where day and month could be either (03/04/2026), `order` must say which comes first: "DMY", "MDY" or "YMD". A
    date without year, month or day is refused, as is one with a time: `any_datetime` is for those.
    """
    found = _parsed(value, order, language)
    if (found.hour, found.minute, found.second, found.microsecond) != (0, 0, 0, 0) or found.tzinfo is not None:
        raise ValueError(f"{shown(value)} has a time of day; write any_datetime, then date(tz=…)")
    return found.date()


@rule_filter(takes=TEXT, gives="timestamp")
@lru_cache(maxsize=4096)
def any_datetime(value: str, order: Order = "", tz: ZoneName = "", language: Language = "en") -> datetime:
    """A point in time in any usual form: `"Nov 24 2026 3:05 pm" | any_datetime(tz="Europe/London")`.

    `order` as for `any_date`; `tz` is where times without an offset were written.
    """
    return placed(_parsed(value, order, language), tz)


def _parsed(value: str, order: str, language: str) -> datetime:
    from dateutil import parser

    if len(value) > 100:
        raise ValueError(f"{shown(value)} is no date")
    _hold_to(value, order)
    text = _ORDINAL.sub(" ", _in_english(value, language)).strip()
    first_days = (order == "DMY",) if order else (True, False)
    readings: list[datetime] = []
    try:
        for day_first in first_days:
            reading, other = (
                parser.parse(text, default=default, dayfirst=day_first, yearfirst=order == "YMD")
                for default in (_ONE, _OTHER)
            )
            if reading != other:
                raise ValueError("its year, month or day is missing")
            readings.append(reading)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{shown(value)} is no date: {error}") from None
    if readings[0] != readings[-1]:
        raise ValueError(f'{shown(value)} may mean two days: say what comes first, as in any_date("DMY")')
    return readings[0]


def _hold_to(value: str, order: str) -> None:
    """dateutil would turn day and month round where the said order can't be; that would hide a wrong order."""
    found = _NUMERIC.match(value)
    if not found:
        return
    first, second, third = found[1], found[3], found[4]
    if len(first) == 4:
        year_at, month = 0, second
    elif order == "YMD":
        raise ValueError(f"{shown(value)} does not begin with a year of four digits, as the order {order} says")
    else:
        year_at, month = 2, second if order == "DMY" else first
    if year_at == 2 and len(third) < 4:
        raise ValueError(f'{shown(value)} has a year of two digits: say how it is written, as in date("%d.%m.%y")')
    if (order or year_at == 0) and int(month) > 12:
        raise ValueError(f"{shown(value)} has no month {month}, as the order {order or 'YMD'} would have it")


def _in_english(value: str, language: str) -> str:
    """Month names as dateutil knows them; names of days say nothing that the date doesn't."""
    months, days = _names(language)

    def translate(found: re.Match[str]) -> str:
        word = found[0].rstrip(".").casefold()
        return months.get(word) or ("" if word in days else found[0])

    return value if language == "en" else _WORD.sub(translate, value).replace(" de ", " ")


@cache
def _names(language: str) -> tuple[dict[str, str], frozenset[str]]:
    from babel.dates import get_day_names, get_month_names

    locale, months, days = language.replace("-", "_"), {}, set()
    english = get_month_names("abbreviated", locale="en")
    for width in ("wide", "abbreviated"):
        for context in ("format", "stand-alone"):
            for number, name in get_month_names(width, context, locale).items():
                months[name.rstrip(".").casefold()] = english[number]
            days |= {name.rstrip(".").casefold() for name in get_day_names(width, context, locale).values()}
    return months, frozenset(days)
