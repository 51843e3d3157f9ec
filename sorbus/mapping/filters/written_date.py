"""Dates in any usual format: the order of day and month, the century and the zone are never guessed.

Names of months and days, and the words in between, are CLDR's (Babel); text that isn't fully understood is rejected.
The time of day and its zone: `written_time`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, datetime
from functools import cache, lru_cache
from typing import Annotated, NamedTuple

from sorbus.mapping.errors import shown
from sorbus.mapping.filters.digits import plain
from sorbus.mapping.filters.moment import ZoneName, placed
from sorbus.mapping.filters.registry import rule_filter
from sorbus.mapping.filters.written_time import Clock, clock_at_end
from sorbus.mapping.types import TEXT

_ORDERS = ("DMY", "MDY", "YMD")
_LONGEST = 100
_NUMERIC = re.compile(r"(\d{1,4}) ?([./\- ]) ?(\d{1,2}) ?\2 ?(\d{1,4})[.,]?")
_COMPACT = re.compile(r"\d{8}")
_CJK = re.compile(r"(\d{4}) ?[年년] ?(\d{1,2}) ?[月월] ?(\d{1,2}) ?[日일]")
_NUMBER = re.compile(r"(?P<number>\d+)(?P<ordinal>(?:st|nd|rd|th|er|ère|e|º|ª|\.º)(?!\w))?")
_MARKS = " .,-/'’ºª()،"
_RUN_TOGETHER = re.compile(r"(?<=\d)(?=[^\W\d_]{3})|(?<=[^\W\d_]{3})(?=\d)")
"""24NOV2026."""
_CENTURIES = range(1800, 2200)
"""The plausible years of eight digits in a row."""
_BETWEEN = frozenset({"of", "the", "de", "del", "d"})


class _Words(NamedTuple):
    """The words of a language in dates."""

    says: dict[str, tuple[str, int] | None]
    """Lower-case word -> ("month", 1 to 12), ("weekday", 0 for Monday); None for a connecting word."""
    longest_first: re.Pattern[str]


def _check_order(order: str) -> None:
    if order and order not in _ORDERS:
        raise ValueError(f"{shown(order)} is not an order of day, month and year; write one of {', '.join(_ORDERS)}")


def _check_language(language: str) -> None:
    from babel import Locale, UnknownLocaleError

    try:
        Locale.parse(language.replace("-", "_"))
    except (UnknownLocaleError, ValueError):
        raise ValueError(f"{shown(language)} is not a valid language; write one such as de") from None


Order = Annotated[str, _check_order]
Language = Annotated[str, _check_language]


@rule_filter(takes=TEXT, gives="date")
@lru_cache(maxsize=4096)
def any_date(value: str, order: Order = "", language: Language = "en") -> date:
    """A date in any usual format: `"24 Nov 2026" | any_date`, `"12. März 2026" | any_date(language="de")`.

    If day and month are ambiguous (03/04/2026), `order` must say which comes first: "DMY", "MDY" or "YMD". A date that
    begins with four digits is year, month, day whatever `order` says (ISO 8601). A date without year, month or day is
    rejected, as are a two-digit year, a wrong day of the week, and a date with a time: use `any_datetime` for
    those.
    """
    day, clock = _parsed(value, order, language)
    if clock and (clock.has_zone or (clock.hour, clock.minute, clock.second, clock.microsecond) != (0, 0, 0, 0)):
        raise ValueError(f"{shown(value)} has a time of day; write any_datetime, then date(tz=…)")
    return day


@rule_filter(takes=TEXT, gives="timestamp")
@lru_cache(maxsize=4096)
def any_datetime(value: str, order: Order = "", tz: ZoneName = "", language: Language = "en") -> datetime:
    """A timestamp in any usual format: `"Nov 24 2026 3:05 pm" | any_datetime(tz="Europe/London")`.

    `order` as for `any_date`; `tz` is the zone of times without an offset. An offset is read literally (GMT+2,
    UTC-05:00, +0200: hours east of Greenwich); zone names are those of RFC 5322, of Europe, and those that `tz` itself
    uses at that time. Another name, and one that isn't in force then, is rejected.
    """
    day, clock = _parsed(value, order, language)
    if clock is None:
        return placed(datetime(day.year, day.month, day.day), tz)
    return clock.on(day, tz, shown(value))


def _parsed(value: str, order: str, language: str) -> tuple[date, Clock | None]:
    if len(value) > _LONGEST:
        raise ValueError(f"{shown(value)} is too long for a date")
    text = " ".join(plain(value).split())
    try:
        rest, clock = clock_at_end(text)
        return _date(_RUN_TOGETHER.sub(" ", rest).strip(" ,"), order, _words(language)), clock
    except ValueError as error:
        raise ValueError(f"{shown(value)} is not a valid date: {error}") from None


def _date(text: str, order: str, words: _Words) -> date:
    if found := _COMPACT.fullmatch(text):
        return _compact(found[0], order)
    if found := _CJK.match(text):
        text = f"{found[1]}-{found[2]}-{found[3]} {text[found.end() :]}".rstrip()
    pieces = [*_pieces(text, words)]
    weekday = next((n for kind, n in pieces if kind == "weekday"), None)
    named = [(kind, number) for kind, number in pieces if kind != "weekday"]
    if any(kind == "month" for kind, _ in named):
        found_day = _with_month_name(named)
    elif numeric := _NUMERIC.fullmatch(_without_words(text, words)):
        found_day = _numeric(numeric[1], numeric[3], numeric[4], order)
    else:
        raise ValueError("its year, month or day is missing, or its format is unknown")
    if weekday is not None and weekday != found_day.weekday():
        raise ValueError(f"{found_day} is a {found_day:%A}, not the day of the week that it names")
    return found_day


def _pieces(text: str, words: _Words) -> Iterator[tuple[str, str | int]]:
    """The parts of a text with their meaning; ValueError for one that isn't part of a date."""
    at, text = 0, text.casefold()
    while at < len(text):
        if found := _NUMBER.match(text, at):
            yield ("day" if found["ordinal"] else "number"), found["number"]
        elif found := words.longest_first.match(text, at):
            if (said := words.says[found[0]]) is not None:
                yield said
        elif text[at] not in _MARKS:
            raise ValueError(f"{shown(text[at:])} is not part of a date in that language")
        at = found.end() if found else at + 1


def _without_words(text: str, words: _Words) -> str:
    """A numeric date without its day of the week and the words around it."""
    return " ".join(words.longest_first.sub(" ", text.casefold()).split()).strip(" ,.()،")


def _with_month_name(pieces: list[tuple[str, str | int]]) -> date:
    months = [number for kind, number in pieces if kind == "month"]
    numbers = [(kind, str(number)) for kind, number in pieces if kind != "month"]
    if len(months) != 1 or len(numbers) > 2:
        raise ValueError("it names more than one day")
    years = [text for kind, text in numbers if kind == "number" and len(text) == 4]
    days = [text for kind, text in numbers if len(text) <= 2]
    if len(numbers) == 2 and not years:
        raise ValueError('it has a year of two digits: say how it is written, as in date("%d-%b-%y")')
    if len(years) != 1 or len(days) != 1:
        raise ValueError("its year, month or day is missing")
    return date(int(years[0]), int(months[0]), int(days[0]))


def _numeric(first: str, second: str, third: str, order: str) -> date:
    if len(first) == 4:
        if len(third) > 2:
            raise ValueError("its year, month or day is missing")
        if int(second) > 12:
            raise ValueError(f"it has no month {second}, as the order YMD would have it")
        return date(int(first), int(second), int(third))
    if len(first) > 2 or len(third) < 4:
        if order == "YMD" or len(first) > 2:
            raise ValueError("it does not begin with a year of four digits, as the order YMD says")
        raise ValueError('it has a year of two digits: say how it is written, as in date("%d.%m.%y")')
    if order == "YMD":
        raise ValueError("it does not begin with a year of four digits, as the order YMD says")
    year, one, two = int(third), int(first), int(second)
    if not order and one != two and one <= 12 and two <= 12:
        raise ValueError('it may mean two days: say what comes first, as in any_date("DMY")')
    day, month = (one, two) if order == "DMY" or (not order and one > 12) else (two, one)
    if month > 12:
        raise ValueError(f"it has no month {month}" + (f", as the order {order} would have it" if order else ""))
    return date(year, month, day)


def _compact(digits: str, order: str) -> date:
    """Eight digits: ISO 8601's basic format, or the given order. Years of these centuries are unambiguous."""
    year, month, day = int(digits[:4]), int(digits[4:6]), int(digits[6:])
    if year not in _CENTURIES and order in ("DMY", "MDY"):
        year, one, two = int(digits[4:]), int(digits[:2]), int(digits[2:4])
        day, month = (one, two) if order == "DMY" else (two, one)
    if year not in _CENTURIES:
        raise ValueError('it may mean several days: say how it is written, as in date("%d%m%Y")')
    return date(year, month, day)


@cache
def _words(language: str) -> _Words:
    from babel import Locale

    locale = Locale.parse(language.replace("-", "_"))
    says: dict[str, tuple[str, int] | None] = dict.fromkeys(_BETWEEN)
    for width in ("long", "full", "medium"):
        pattern = str(locale.date_formats[width].pattern)
        for literal in [*re.findall(r"'([^']+)'", pattern), *re.findall(r"[^\W\d_A-Za-z]+", pattern)]:
            says |= dict.fromkeys(_word(word) for word in literal.split())
    # A word that is both is the month: a date without one is rejected, one without a weekday is not.
    for kind, names in (("weekday", locale.days), ("month", locale.months)):
        for context in ("format", "stand-alone"):
            for width in ("wide", "abbreviated"):
                says |= {_word(name): (kind, int(number)) for number, name in names[context][width].items()}
    if language == "en":
        says |= {"sept": ("month", 9), "tues": ("weekday", 1), "thur": ("weekday", 3), "thurs": ("weekday", 3)}
    # Some languages number their months and days instead: those are read as numbers.
    said = {word: what for word, what in says.items() if word and not word.isdigit()}
    alternatives = "|".join(re.escape(word) for word in sorted(said, key=len, reverse=True))
    return _Words(said, re.compile(alternatives))


def _word(name: str) -> str:
    return " ".join(plain(name).casefold().split()).rstrip(".")
