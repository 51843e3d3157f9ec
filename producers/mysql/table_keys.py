"""Keys of MySQL tables: as ids, as parameters, and in the order that the server sorts them by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal

from sorbus.errors import PermanentError
from sorbus.mysql.catalog import MysqlColumn, MysqlTable
from sorbus.mysql.connection import quoted
from sorbus.mysql.text_values import BINARY_TYPES
from sorbus.producers.record_keys import key_fault, record_id, unkeyed_id

KeyTexts = tuple[str, ...]
"""A key's columns as texts: bytes in hexadecimal, all others as the server writes them."""
_BY_NUMBER = {"enum", "set", "bit"}
"""Types that the server sorts by a number behind their text."""
UNFIT = {"float", "double", "json", "geometry", "vector", "uuid", "inet4", "inet6"}
"""Types whose values can't be compared exactly, or aren't in the log as they are shown."""


def key_text(value: object) -> str:
    """A key column's value as text."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime):
        moment = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
        return moment.isoformat(" ")
    return value.isoformat() if isinstance(value, date) else str(value)


def key_parameter(column: MysqlColumn, text: str) -> object:
    """What a key column is compared with. ValueError for a text that no such column has."""
    if column.type in BINARY_TYPES:
        return bytes.fromhex(text)
    if column.type in ("tinyint", "smallint", "mediumint", "int", "bigint", "year", "bit"):
        return int(text)
    if column.type != "decimal":
        return text
    if not (number := Decimal(text)).is_finite():
        raise ValueError(f"{text} is no number that a column keeps")
    return number


def key_mark(column: MysqlColumn, text: str) -> str:
    """What stands for a key column's parameter: letters that its character set lacks find nothing, and are no error."""
    if not column.charset or text.isascii():
        return "%s"
    return f"convert(%s using {column.charset}) collate {column.collation}"


def sort_expression(column: MysqlColumn) -> str:
    """What rows are sorted by, so that `>` and `order by` agree."""
    name = f"t.{quoted(column.name)}"
    return f"{name} + 0" if column.type in _BY_NUMBER else name


def sort_parameter(column: MysqlColumn, text: str) -> object:
    """The parameter for a sort expression's own text."""
    return int(text) if column.type in _BY_NUMBER else key_parameter(column, text)


def after_clause(columns: Sequence[MysqlColumn], after: Sequence[str]) -> tuple[str, list[object]]:
    """`a > x or (a = x and b > y)`: rows after a key, and the parameters."""
    clauses, parameters = [], list[object]()
    for place in range(len(columns)):
        parts = [f"{sort_expression(column)} = %s" for column in columns[:place]]
        parts.append(f"{sort_expression(columns[place])} > %s")
        clauses.append("(" + " and ".join(parts) + ")")
        parameters += [sort_parameter(columns[at], after[at]) for at in range(place + 1)]
    return "(" + " or ".join(clauses) + ")", parameters


def id_of(values: Sequence[object]) -> bytes:
    """The record's id of a key's values."""
    return record_id([key_text(value).encode() for value in values])


def require_key(table: MysqlTable, key: Sequence[str], values: Sequence[object]) -> bytes:
    """The id of a row. PermanentError (reason `no key`) for a key that names no record; `dead_id` names it then."""
    texts = [None if value is None else key_text(value).encode() for value in values]
    fault = key_fault(texts, key)
    if fault is None:
        return record_id(texts)
    raise PermanentError(
        f"{table.full_name} has a row that no record can be made of: its key column {fault[0]} {fault[1]}; fix the row"
        " at its owner, or name other columns with `key:`",
        reason="no key",
        field=fault[0],
    )


def dead_id(table: MysqlTable, key: Sequence[str], row: Mapping[str, object]) -> bytes:
    """What a dead letter calls a row whose key names no record."""
    names = table.key or tuple(key)
    texts = [None if row.get(name) is None else key_text(row[name]).encode() for name in names]
    return unkeyed_id(names, texts, is_key=True)
