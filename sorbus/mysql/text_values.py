"""A query's texts as Python values, by column type; no I/O.

Whole numbers, Decimal, float, date, datetime (with UTC for `timestamp`, which the session's zone shows it in), str and
bytes. A date that no calendar has (0000-00-00) stays its text; so does a time, which may be negative or beyond a day.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from struct import Struct

from sorbus.mysql.catalog import MysqlColumn
from sorbus.mysql.connection import quoted

_single = Struct("<f")
_WHOLE = {"tinyint", "smallint", "mediumint", "int", "bigint", "year"}
TEXT_TYPES = frozenset({"char", "varchar", "tinytext", "text", "mediumtext", "longtext"})
BINARY_TYPES = frozenset({"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"})
READABLE = frozenset({*_WHOLE, *TEXT_TYPES, *BINARY_TYPES, "decimal", "float", "double", "date", "datetime",
                      "timestamp", "time", "enum", "set", "json", "bit", "uuid", "inet4", "inet6"})  # fmt: skip


def read_expression(column: MysqlColumn, alias: str = "") -> str:
    """What is selected for a column: floats with all their digits, which the server would round to six."""
    name = f"{alias}.{quoted(column.name)}" if alias else quoted(column.name)
    return f"{name} + 0e0" if column.type == "float" else name


def shortest_float(value: float) -> float:
    """A number of 32 bits as the shortest decimal that names it: 0.1, not 0.10000000149011612."""
    if value != value or value in (float("inf"), float("-inf")):
        return value
    return next((short for digits in range(6, 10) if _is_single(short := float(f"{value:.{digits}g}"), value)), value)


def _is_single(short: float, value: float) -> bool:
    try:
        return bool(_single.unpack(_single.pack(short))[0] == value)
    except OverflowError:
        return False


def time_text(hours: int, minutes: int, seconds: int, micros: int, places: int, *, is_negative: bool) -> str:
    """A time as the server writes it: -838:59:59.000000."""
    fraction = f".{micros:06}"[: places + 1] if places else ""
    return f"{'-' if is_negative else ''}{hours:02}:{minutes:02}:{seconds:02}{fraction}"


def _date(text: str) -> object:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return text


def _datetime(text: str) -> object:
    try:
        return datetime.fromisoformat(text if "." not in text else text.ljust(26, "0"))
    except ValueError:
        return text


def _timestamp(text: str) -> object:
    found = _datetime(text)
    return found.replace(tzinfo=UTC) if isinstance(found, datetime) else found


def _same(value: object) -> object:
    return value


_READERS: dict[str, Callable[[str], object]] = {
    **dict.fromkeys(_WHOLE, int),
    "decimal": Decimal,
    "float": lambda text: shortest_float(float(text)),
    "double": float,
    "date": _date,
    "datetime": _datetime,
    "timestamp": _timestamp,
}


def value_maker(column: MysqlColumn) -> Callable[[object], object]:
    """What makes a column's value of what a query gave for it."""
    if column.type == "bit":
        return lambda raw: None if raw is None else int.from_bytes(_bytes(raw), "big")
    read = _READERS.get(column.type)
    if read is None:
        return _same
    return lambda raw: None if raw is None else read(_text(raw))


def _text(raw: object) -> str:
    return raw.decode() if isinstance(raw, bytes) else str(raw)


def _bytes(raw: object) -> bytes:
    return raw if isinstance(raw, bytes) else str(raw).encode("latin-1")
