"""Filters over numbers, exact throughout: a binary fraction becomes the shortest decimal with the same value."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, ROUND_HALF_EVEN, ROUND_HALF_UP, ROUND_UP, Context, Decimal
from functools import cache
from typing import Annotated

from sorbus.mapping.errors import shown
from sorbus.mapping.filters.digits import plain
from sorbus.mapping.filters.registry import rule_filter
from sorbus.mapping.types import EXACT, FLOAT, NUMBER, TEXT

_ROUNDING = {
    "half-up": ROUND_HALF_UP,
    "half-even": ROUND_HALF_EVEN,
    "up": ROUND_UP,
    "down": ROUND_DOWN,
    "ceiling": ROUND_CEILING,
    "floor": ROUND_FLOOR,
}
_WRITTEN = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,2})?")
_WIDE = Context(prec=200)
_LONGEST = 100
_UNITS = {places: Decimal(1).scaleb(-places) for places in range(-_LONGEST, _LONGEST + 1)}


def _check_mode(mode: str) -> None:
    if mode not in _ROUNDING:
        raise ValueError(f"no mode is called {shown(mode)}; write one of {', '.join(_ROUNDING)}")


Mode = Annotated[str, _check_mode]


@rule_filter(takes=NUMBER | TEXT, gives="decimal", weight="middling")
def decimal(value: object, point: str = ".", group: str = "") -> Decimal:
    """An exact number: `value | decimal`. For "1.234,50" write `value | decimal(point=",", group=".")`.

    A wrongly grouped number (12.50 or 0.123 with `group="."`) is rejected. A trailing minus counts, as ledgers print
    it: 1.234,50-.
    """
    if group == point:
        if point != ".":
            raise ValueError(
                f"the decimal mark and the grouping mark are both {shown(point)}: say which other one is used"
            )
        point = ","
    if isinstance(value, str) and (point, group) != (".", ""):
        if len(value) <= _LONGEST and group and _in_thousands(point, group)(value):
            return Decimal(value.replace(group, "").replace(point, "."))
        value = _plain(value, point, group)
    return as_decimal(value)


@rule_filter(takes=NUMBER | TEXT, gives="long", weight="middling")
def integer(value: object, group: str = "") -> int:
    """A whole number; a fraction is rejected: `value | integer`, `value | round | integer`.

    So is 1.23E+11, which spreadsheets make of a long number: the lost digits can't be recovered.
    """
    if isinstance(value, str):
        if group:
            value = _plain(value, "," if group == "." else ".", group)
        if "e" in value.lower() and as_decimal(value).as_tuple().exponent > 0:  # type: ignore[operator]
            raise ValueError(f"{shown(value)} is shortened, as spreadsheets do; export the column as text")
    if isinstance(value, int):
        return value
    number = as_decimal(value)
    if number.adjusted() > _LONGEST:
        raise ValueError(f"{shown(value)} is too large")
    if number != number.to_integral_value():
        raise ValueError(f"{shown(value)} is not whole; write `| round | integer` to round it")
    return int(number)


@rule_filter(takes=NUMBER, gives="decimal", weight="middling")
def round_(value: object, places: int = 0, mode: Mode = "half-up") -> Decimal:
    """Rounds to this many decimal places, halves away from zero: `value | round(2)`.

    Other modes: half-even, up, down, ceiling, floor.
    """
    if not -_LONGEST <= places <= _LONGEST:
        raise ValueError(f"{places} decimal places are too many")
    number = as_decimal(value)
    if number.adjusted() > _LONGEST:
        raise ValueError(f"{shown(value)} is too large to round")
    rounded = number.quantize(_UNITS[places], _ROUNDING[mode], _WIDE)
    return rounded if places >= 0 else rounded.quantize(Decimal(1), context=_WIDE)


@rule_filter(takes=EXACT | FLOAT | TEXT, gives="double", weight="middling")
def float_(value: object) -> float:
    """A binary fraction, for targets without an exact type (never for money): `value | float`."""
    return float(as_decimal(value))


def as_decimal(value: object) -> Decimal:
    """A number or its plain text as Decimal; ValueError for infinities, booleans, and other formats."""
    if isinstance(value, Decimal):
        number = value
    elif isinstance(value, bool):
        raise ValueError(f"{shown(value)} is not a valid number")
    elif isinstance(value, int):
        return Decimal(value)
    elif isinstance(value, float):
        number = Decimal(repr(value))
    elif isinstance(value, str):
        written = value.strip()
        if not _WRITTEN.fullmatch(written[: _LONGEST + 1]):
            written = _tidy(written)
        if len(written) > _LONGEST or not _WRITTEN.fullmatch(written):
            raise ValueError(
                f"{shown(value)} is not a plain number; "
                'write how it is punctuated, such as decimal(point=",", group=".") for 1.234,50'
            )
        number = Decimal(written)
    else:
        raise ValueError(f"{shown(value)} is not a valid number")
    if not number.is_finite():
        raise ValueError(f"{number} is not a finite number")
    return number


@cache
def _in_thousands(point: str, group: str) -> Callable[[str], object]:
    """Whether a number is in the usual format: digits in groups of three, then the point."""
    mark = re.escape(group)
    return re.compile(rf"[+-]?(?:[1-9][0-9]{{0,2}}(?:{mark}[0-9]{{3}})+|[0-9]+)(?:{re.escape(point)}[0-9]+)?").fullmatch


def _plain(value: str, point: str, group: str) -> str:
    """A punctuated number without its groups, with a full stop as decimal mark; ValueError if punctuated otherwise.

    Groups have three digits in every convention but the Indian one, whose last has three and whose others have two
    (CLDR), and no grouped number begins with a zero.
    """
    written = _tidy(value.strip())
    point, group = plain(point), plain(group)
    if group in ("'", "\u2019"):
        written, group = written.replace("\u2019", "'"), "'"
    if group:
        whole, dot, fraction = written.partition(point)
        first, *others = whole.lstrip("+-").split(group)
        if (others and not _is_grouped(first, others, group)) or group in fraction:
            raise ValueError(f"{shown(value)} is not grouped by {shown(group)} as numbers are")
        written = whole.replace(group, "") + dot + fraction
    if point != "." and "." in written:
        raise ValueError(f"{shown(value)} has a full stop where the decimal point is said to be {shown(point)}")
    return written.replace(point, ".")


def _is_grouped(first: str, others: list[str], mark: str) -> bool:
    sizes = {len(block) for block in others[:-1]}
    is_western = sizes <= {3} and len(first) <= 3
    is_indian = mark == "," and sizes <= {2} and len(first) <= 2
    return first[:1] in tuple("123456789") and len(others[-1]) == 3 and (is_western or is_indian)


def _tidy(written: str) -> str:
    """Plain digits and marks, with a trailing minus moved to the front, as in SAP's lists."""
    written = plain(written)
    return f"-{written[:-1].rstrip()}" if written[-1:] == "-" and written[:1] not in ("+", "-") else written
