"""Numbers and dates that a sheet holds as text: how a column writes them is decided by the whole column, or said.

Each cell allows some ways of writing (1,234 is a thousand in London and little more than one in Berlin); a column is
written in the ways that all its cells allow. A cell whose value still depends on the way is refused, in words.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Literal, NamedTuple

from sorbus.mapping.errors import shown
from sorbus.mapping.filters.written_date import any_date, any_datetime
from sorbus.spreadsheet.cells import exact

Order = Literal["DMY", "MDY", "YMD"]
_APOSTROPHES = str.maketrans({"’": "'", "‘": "'", "´": "'", "`": "'"})
_SPACES = str.maketrans(dict.fromkeys("\u00a0\u202f\u2009\u2007", " "))
# Possessive: a text with many spaces is read once, and not once for each way to share them out.
_SIGNED = re.compile(
    r"(?P<open>\()?\s*+(?P<sign>[+\-−]?)\s*+(?P<body>[0-9][0-9.,' ]*+|[.,][0-9]++)\s*+(?P<after>-?)\s*+"
    r"(?P<percent>%?)\s*+(?P<close>\))?"
)
_LONGEST = 200
"""Characters of a number: more than any decimal has, with all its signs and spaces."""
_EXPONENT = re.compile(r"[+-]?[0-9](?:[.,][0-9]+)?[eE][+-]?[0-9]{1,3}")


class NumberStyle(NamedTuple):
    """The decimal mark, and the mark between thousands; `name` is how a map writes it."""

    name: str
    point: str
    group: str


STYLES = (
    NumberStyle("1234.56", ".", ""),
    NumberStyle("1234,56", ",", ""),
    NumberStyle("1,234.56", ".", ","),
    NumberStyle("1.234,56", ",", "."),
    NumberStyle("1'234.56", ".", "'"),
    NumberStyle("1'234,56", ",", "'"),
    NumberStyle("1 234.56", ".", " "),
    NumberStyle("1 234,56", ",", " "),
)
_BY_NAME = {style.name: style for style in STYLES}
ORDERS: tuple[Order, ...] = ("DMY", "MDY", "YMD")


def styles_named(name: str | None) -> tuple[NumberStyle, ...]:
    """The style that a map names, and the same without thousands; all of them for None. ValueError."""
    if name is None:
        return STYLES
    if name not in _BY_NAME:
        raise ValueError(f"{name!r} is no way to write 1234.56; write one of {', '.join(map(repr, _BY_NAME))}")
    style = _BY_NAME[name]
    return tuple(each for each in STYLES if each.point == style.point and each.group in ("", style.group))


def number_readings(text: str) -> tuple[tuple[NumberStyle, Decimal], ...]:
    """What a text is as a number in each style that allows it; empty: it is no number in any."""
    text = text.strip()
    return _readings(text) if len(text) <= _LONGEST else ()


@lru_cache(maxsize=4096)
def _readings(text: str) -> tuple[tuple[NumberStyle, Decimal], ...]:
    found = _SIGNED.fullmatch(text.translate(_APOSTROPHES).translate(_SPACES))
    if found is None or bool(found["open"]) != bool(found["close"]):
        return ()
    signs = [bool(found["open"]), found["sign"] in ("-", "−"), bool(found["after"])]
    if sum(signs) > 1:
        return ()
    sign, power = "-" if any(signs) else "", "E-2" if found["percent"] else ""
    body = found["body"].strip()
    readings = []
    for style in STYLES:
        digits = _digits(body, style)
        if digits is not None:
            readings.append((style, Decimal(f"{sign}{digits}{power}")))
    return tuple(readings)


def _digits(body: str, style: NumberStyle) -> str | None:
    whole, mark, fraction = body.partition(style.point)
    if not fraction.isdigit() and (fraction or mark):
        return None
    if style.group and style.group in whole:
        first, *others = whole.split(style.group)
        if not (first.isdigit() and len(first) <= 3 and not first.startswith("0")):
            return None
        if not all(len(each) == 3 and each.isdigit() for each in others):
            return None
        whole = first + "".join(others)
    if not whole.isdigit() and (whole or not fraction):
        return None
    return f"{whole or '0'}.{fraction}" if fraction else whole


class _Evidence(NamedTuple):
    text: str
    row: int


class ColumnOfNumbers:
    """What a column's texts say of the way its numbers are written."""

    def __init__(self, said: str | None = None) -> None:
        self._said = said
        self._styles = styles_named(said)
        self._left = self._styles
        self._deciding: _Evidence | None = None
        self._conflict: tuple[_Evidence, _Evidence] | None = None
        self._percent: _Evidence | None = None

    def see(self, text: str, row: int) -> None:
        """Takes a cell into account."""
        readings = number_readings(text)
        if not readings or self._conflict:
            return
        if "%" in text and self._percent is None:
            self._percent = _Evidence(text, row)
        allowed = {style for style, _ in readings}
        left = tuple(style for style in self._left if style in allowed)
        if len(left) < len(self._left):
            if not left and self._said is None:
                self._conflict = (self._deciding or _Evidence(text, row), _Evidence(text, row))
            if left:
                self._left, self._deciding = left, _Evidence(text, row)

    def read(self, text: str) -> Decimal:
        """The number. ValueError in a bookkeeper's words."""
        if _EXPONENT.fullmatch(text.strip()):
            return self._shortened(text)
        readings = number_readings(text)
        if not readings:
            raise ValueError(f"{shown(text)} is not a number")
        values = {value for style, value in readings if style in self._left}
        every = {value for _, value in readings}
        if self._percent is not None and "%" not in text and every != {Decimal(0)}:
            raise ValueError(
                f"{shown(text)} has no % sign, and {shown(self._percent.text)} in row {self._percent.row} has one:"
                " write all numbers of the column in the same way"
            )
        if self._conflict is not None and not text.strip("0123456789+- %"):
            values = every
        elif self._conflict is not None:
            first, second = self._conflict
            raise ValueError(
                f"the column writes its numbers in different ways ({shown(first.text)} in row {first.row},"
                f" {shown(second.text)} in row {second.row}), so that {shown(text)} is unclear:"
                " write them all in the same way"
            )
        if len(values) == 1:
            return values.pop()
        if not values:
            raise ValueError(f"{shown(text)} is not written like {self._said or self._left[0].name}")
        small, large = sorted(values)[0], sorted(values)[-1]
        raise ValueError(
            f"{shown(text)} may be {small:f} or {large:f}, and no other number of the column tells: say"
            " `decimals: 1,234.56` or `decimals: 1.234,56` under the data type's `source:`"
        )

    def _shortened(self, text: str) -> Decimal:
        number = exact(text.strip().replace(",", "."))
        if abs(number) >= 1000:
            raise ValueError(
                f"{shown(text)} is shortened, as spreadsheets do with long numbers, and its last digits are lost:"
                " format the column as text, or as a number without exponent, and export it again"
            )
        return number


class ColumnOfDates:
    """What a column's texts say of the order of day, month and year."""

    def __init__(self, said: Order | None = None, time_zone: str = "", *, has_time: bool = False) -> None:
        self._said: Order | None = said
        self._left: tuple[Order, ...] = (said,) if said else ORDERS
        self._read: Callable[[str, Order], date] = (
            (lambda text, order: any_datetime(text, order, time_zone)) if has_time else any_date
        )

    def see(self, text: str) -> None:
        """Takes a cell into account."""
        allowed = [order for order in self._left if self._try(text, order) is not None]
        if allowed:
            self._left = tuple(allowed)

    def read(self, text: str) -> date | datetime:
        """The date, or the point in time. ValueError."""
        found = {read for order in self._left if (read := self._try(text, order)) is not None}
        if len(found) == 1:
            return found.pop()
        if not found:
            return self._read(text.strip(), self._left[0])  # says what is wrong with it
        first, second, *_ = sorted(found)
        raise ValueError(
            f"{shown(text)} may be {first:%d %B %Y} or {second:%d %B %Y}, and no other date of the column tells: say"
            " `dates: DMY` (day, month, year) or `dates: MDY` under the data type's `source:`"
        )

    def _try(self, text: str, order: Order) -> date | None:
        try:
            return self._read(text.strip(), order)
        except ValueError:
            return None
