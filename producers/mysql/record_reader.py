"""Reading records by a query: by their keys, or a page after a key, with the rows of their lists."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from sorbus.mysql.catalog import MysqlColumn, MysqlTable
from sorbus.mysql.connection import Session, quoted
from sorbus.mysql.text_values import read_expression, value_maker
from sorbus.producers.mysql.capture import Items, ItemsTable, MysqlCapture
from sorbus.producers.mysql.row_images import Image
from sorbus.producers.mysql.table_keys import (
    KeyTexts,
    after_clause,
    key_mark,
    key_parameter,
    key_text,
    sort_expression,
)


class ReadRecord(NamedTuple):
    """A record's row with its lists' rows; `place`: where the server sorts it, for the next page."""

    row: Image
    items: Items
    place: KeyTexts


class RecordReader:
    """Reads one data type's records in the transaction that `session` has in progress."""

    def __init__(self, session: Session, capture: MysqlCapture) -> None:
        self._session, self._capture = session, capture
        self._columns = [capture.table.columns[name] for name in capture.columns]
        self._makers = [value_maker(column) for column in self._columns]

    def page(self, after: Sequence[str] | None, limit: int) -> list[ReadRecord]:
        """The next records in the key's order. pymysql.Error."""
        keys = self._capture.key_columns
        where, parameters = ("true", list[object]()) if after is None else after_clause(keys, after)
        order = ", ".join(sort_expression(column) for column in keys)
        return self._records(f"{where} order by {order} limit {int(limit)}", parameters)

    def by_key(self, keys: Iterable[KeyTexts]) -> list[ReadRecord]:
        """Those of the records with these keys that there are, as the server compares keys. pymysql.Error."""
        columns, parameters, marks = self._capture.key_columns, list[object](), list[str]()
        for key in keys:
            try:
                found = [key_parameter(column, text) for column, text in zip(columns, key, strict=True)]
            except (ValueError, ArithmeticError):
                continue  # no such column can hold it
            parameters += found
            marks.append(f"({', '.join(key_mark(column, text) for column, text in zip(columns, key, strict=True))})")
        if not marks:
            return []
        names = ", ".join(f"t.{quoted(column.name)}" for column in columns)
        return self._records(f"({names}) in ({', '.join(marks)})", parameters)

    def _records(self, rest: str, parameters: Sequence[object]) -> list[ReadRecord]:
        capture = self._capture
        selected = [read_expression(column, "t") for column in self._columns]
        places = [f"{sort_expression(column)} as sorbus_place_{at}" for at, column in enumerate(capture.key_columns)]
        statement = f"select {', '.join((*selected, *places))} from {capture.table.sql} t where {rest}"  # noqa: S608
        size, width = len(self._columns), len(capture.key)
        rows, orders = list[Image](), list[KeyTexts]()
        for values in self._session.query(statement, parameters or None):
            rows.append(_image(self._columns, self._makers, values))
            orders.append(tuple(key_text(value) for value in values[size : size + width]))
        lists = [(child, self._lists(child, rows)) for child in capture.children]
        return [
            ReadRecord(row, {child.field.name: found.get(at, []) for child, found in lists}, place)
            for at, (row, place) in enumerate(zip(rows, orders, strict=True))
        ]

    def _lists(self, child: ItemsTable, parents: Sequence[Image]) -> dict[int, list[Image]]:
        """The items of records by the record's place, as the server compares their keys."""
        if not parents:
            return {}
        capture, table = self._capture, child.table
        columns = [table.columns[name] for name in child.columns]
        makers = [value_maker(column) for column in columns]
        keys = [f"t.{quoted(name)}" for name in capture.key]
        selected = ", ".join((*(read_expression(column, "c") for column in columns), *keys))
        order = ", ".join(f"c.{quoted(name)}" for name in child.order)
        marks = f"({', '.join(['%s'] * len(keys))})"
        parameters = [
            key_parameter(column, key_text(row[column.name])) for row in parents for column in capture.key_columns
        ]
        statement = (
            f"select {selected} from {child.joined_to(capture.table, capture.key)}"  # noqa: S608 - quoted
            f" where ({', '.join(keys)}) in ({', '.join([marks] * len(parents))}) order by {order}"
        )
        places = {tuple(key_text(row[name]) for name in capture.key): at for at, row in enumerate(parents)}
        key_makers = [value_maker(column) for column in capture.key_columns]
        found: dict[int, list[Image]] = {}
        for values in self._session.query(statement, parameters):
            raw = values[len(columns) :]
            key = tuple(key_text(make(value)) for make, value in zip(key_makers, raw, strict=True))
            if (at := places.get(key)) is not None:
                found.setdefault(at, []).append(_image(columns, makers, values))
        return found


def _image(
    columns: Sequence[MysqlColumn], makers: Sequence[Callable[[object], object]], values: Sequence[object]
) -> Image:
    return {column.name: make(value) for column, make, value in zip(columns, makers, values, strict=False)}


def row_count(session: Session, table: MysqlTable) -> int:
    """About how many rows a table has, as the server estimates. pymysql.Error."""
    found = session.value(
        "select table_rows from information_schema.tables where table_schema = %s and table_name = %s",
        [table.database, table.name],
    )
    return int(found or 0)
