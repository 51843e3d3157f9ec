"""Canonical values as a MySQL column keeps them: exactly, or refused in words; no I/O.

Also with strict mode the server rounds decimal places and fractions of seconds, strips blanks, pads bytes, takes a text
of digits for an enum's number and a label in another case for the label, all without an error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Context, Decimal, InvalidOperation
from math import isfinite
from struct import Struct
from uuid import UUID
from zoneinfo import ZoneInfo

from sorbus.mapping.filters.text import as_text
from sorbus.mysql.catalog import MysqlColumn
from sorbus.mysql.text_values import BINARY_TYPES, TEXT_TYPES, shortest_float

_single = Struct("<f")
_WIDE = Context(prec=120)
_INTEGERS = {"tinyint", "smallint", "mediumint", "int", "bigint", "year", "bit"}
_MOMENTS = {"datetime", "timestamp", "time"}
_NUMBER = re.compile(r"\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?\s*", re.ASCII | re.IGNORECASE)
_YEAR_FIRST = re.compile(r"\s*\d{4}(?!\d)|\s*\d{8}(?:\d{6})?(?!\d)", re.ASCII)
_OFFSET = re.compile(r":\d\d(?:\.\d*)?\s*(?:Z|[+-]\d\d:?\d\d)\s*$", re.ASCII | re.IGNORECASE)
_TIME = re.compile(r"\s*-?(?:\d+ )?\d{1,3}:\d\d(?::\d\d(?:\.\d*)?)?\s*", re.ASCII)
_WIDTHS = {"ucs2": "utf-16-be", "utf16": "utf-16-be", "utf16le": "utf-16-le", "utf32": "utf-32-be"}
_FRACTION = re.compile(r"\.(\d+)\s*$")
_NARROW = "round or truncate it by a rule, or let the table's owner give the column a wider type"


def cell_maker(column: MysqlColumn, zone: str) -> Callable[[object], object]:
    """What makes a column's parameter of a canonical value; ValueError for one that it wouldn't keep as it is.

    `zone`: of the clocks that `datetime` columns show.
    """
    shown = ZoneInfo(zone)

    def make(value: object) -> object:
        if value is None:
            if column.makes_value:
                raise ValueError(
                    f"{column.native} takes a value of its own in place of none: write a rule that gives one"
                )
            return None
        if isinstance(value, dict | list | tuple):
            return _document(column, value)
        if column.type in _INTEGERS:
            return _whole(column, value)
        if column.type == "decimal":
            return _decimal(column, value)
        if column.type in ("float", "double"):
            return _float(column, value)
        if column.type in _MOMENTS or column.type == "date":
            return _moment(column, value, shown)
        if column.type in BINARY_TYPES:
            return _binary(column, value)
        return _text(column, value)

    return make


def _whole(column: MysqlColumn, value: object) -> object:
    if isinstance(value, bool):
        return int(value)
    number = _number(value)
    if number != number.to_integral_value():
        raise ValueError(f"{column.native} keeps whole numbers only: {_NARROW}")
    whole = int(number)
    if column.type == "year" and whole and not 1901 <= whole <= 2155:
        raise ValueError("year keeps 1901 to 2155, and takes less than 100 for a year of one of two centuries")
    return whole


def _decimal(column: MysqlColumn, value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("true or false becomes a number only by a rule")
    number = _number(value)
    if number != number.quantize(Decimal(1).scaleb(-column.scale), context=_WIDE):
        raise ValueError(f"it has more than the {column.scale} decimal places that {column.native} keeps: {_NARROW}")
    return number


def _number(value: object) -> Decimal:
    if isinstance(value, str) and not _NUMBER.fullmatch(value):
        raise ValueError("it is not a number")
    try:
        number = Decimal(repr(value)) if isinstance(value, float) else Decimal(str(value))
    except InvalidOperation:
        raise ValueError("it is not a number") from None
    if not number.is_finite():
        raise ValueError("it is not a finite number, which no column keeps")
    return number


def _float(column: MysqlColumn, value: object) -> object:
    number = float(_number(value)) if not isinstance(value, float) else value
    if not isfinite(number):
        raise ValueError("it is not a finite number, which no column keeps")
    if not isinstance(value, float) and Decimal(repr(number)) != _number(value):
        raise ValueError(f"it has more digits than {column.native} keeps: {_NARROW}")
    if column.places is not None and _number(number) != round(_number(number), column.places):
        raise ValueError(f"it has more than the {column.places} decimal places that {column.native} keeps: {_NARROW}")
    if column.type == "float":
        try:
            kept = _single.unpack(_single.pack(number))[0]
        except OverflowError:
            kept = float("inf")
        if number not in (kept, shortest_float(kept)):
            raise ValueError(f"it has more digits than {column.native} keeps: {_NARROW}")
    return number


def _moment(column: MysqlColumn, value: object, zone: ZoneInfo) -> object:
    if isinstance(value, datetime):
        if column.type in ("date", "time"):
            raise ValueError(f"{column.native} would lose a part of it: write a rule that says which it takes")
        if value.tzinfo is not None:
            value = value.astimezone(zone if column.type == "datetime" else UTC).replace(tzinfo=None)
        _require_fraction(column, f"{value.microsecond:06}")
        return value.isoformat(" ")
    if isinstance(value, date):
        if column.type != "date":
            raise ValueError(f"{column.native} takes a date only by a rule: value | datetime")
        return value.isoformat()
    if isinstance(value, time):
        if column.type != "time":
            raise ValueError(f"{column.native} doesn't take a time of day")
        _require_fraction(column, f"{value.microsecond:06}")
        return value.isoformat()
    if not isinstance(value, str):
        raise ValueError(f"{column.native} takes no such value")
    if column.type == "time" and not _TIME.fullmatch(value):
        raise ValueError(f"{column.native} would guess what it means: write it as 23:59:59 by a rule")
    if column.type != "time" and not _YEAR_FIRST.match(value):
        raise ValueError(f"{column.native} would guess its year: write it as 2024-01-31 by a rule")
    if column.type == "datetime" and _OFFSET.search(value):
        raise ValueError(
            f"{column.native} has no time zone: write a rule that gives a moment, such as value | timestamp"
        )
    if found := _FRACTION.search(value):
        _require_fraction(column, found.group(1))
    if column.type == "date" and len(value.strip()) > 10:
        raise ValueError(f"{column.native} would lose the time of day")
    return value


def _require_fraction(column: MysqlColumn, digits: str) -> None:
    if digits[column.fraction :].strip("0"):
        raise ValueError(f"it has more than the {column.fraction} decimal places of seconds that {column.native} keeps")


def _binary(column: MysqlColumn, value: object) -> object:
    if not isinstance(value, bytes):
        raise ValueError(f"{column.native} takes bytes: write a rule")
    if column.type == "binary" and len(value) < column.octets:
        raise ValueError(f"{column.native} would fill it up with zero bytes: make the column a varbinary")
    return value


def _text(column: MysqlColumn, value: object) -> object:
    if isinstance(value, bytes):
        raise ValueError(f"{column.native} takes bytes only by a rule")
    if isinstance(value, bool | float):
        raise ValueError("it becomes text only by a rule: value | text")
    text = str(value) if isinstance(value, UUID) else value.isoformat() if isinstance(value, time) else as_text(value)
    if column.type == "enum" and text not in column.labels:
        raise ValueError(f"{text[:60]!r} is not one of {', '.join(column.labels[:20])}")
    if column.type == "set" and (unknown := [one for one in text.split(",") if one and one not in column.labels]):
        raise ValueError(f"{unknown[0][:60]!r} is not one of {', '.join(column.labels[:20])}")
    if column.type == "char" and text.endswith(" "):
        raise ValueError(f"{column.native} strips blanks at the end: write value | trim, or make the column a varchar")
    if column.type in TEXT_TYPES and text.endswith(" ") and _size(column, text) > column.characters:
        raise ValueError(f"it ends in blanks beyond what {column.native} keeps")
    return text


def _size(column: MysqlColumn, text: str) -> int:
    """In characters for char and varchar; the others are limited in bytes."""
    return len(text) if column.type in ("char", "varchar") else len(text.encode(_WIDTHS.get(column.charset, "utf-8")))


def _document(column: MysqlColumn, value: object) -> object:
    if column.type not in ("json", "longtext", "mediumtext", "text"):
        raise ValueError(f"{column.native} takes a list or a document only by a rule")
    return json.dumps(_plain(value), ensure_ascii=False)


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if value is None or isinstance(value, bool | int | str | float):
        return value
    return value.hex() if isinstance(value, bytes) else as_text(value)
