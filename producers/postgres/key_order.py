"""The queries that read a table by ranges of its key: behind a key, in the key's own order, by the key's index.

The server compares, never Sorbus: collations, enums and numbers have orders of their own. A key's text, cast to its
column's type, is that key again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from psycopg import sql

from sorbus.producers.postgres.capture import Capture, ChildTable, Key
from sorbus.producers.postgres.fetch import parent_join


def first_rows(capture: Capture, columns: Sequence[str], after: Key | None, limit: int) -> sql.Composed:
    """At most `limit` rows behind a key, in the key's order; rows with a null in their key are no records.

    Where no index keeps the key unique, rows whose keys are equal to the last one's come as well: they may be other
    records (1 and 1.0, or letters that a collation doesn't tell apart), and nobody would come back for them.
    """
    query = sql.SQL("select {} from {} t where {} order by {} fetch first {} rows {}")
    return query.format(
        listed("t", columns),
        capture.table.identifier,
        _all([*_whole(capture), *_behind(capture, after)]),
        listed("t", capture.key),
        sql.Literal(limit),
        sql.SQL("only" if capture.shared_key is None else "with ties"),
    )


def items_between(
    capture: Capture, child: ChildTable, names: Sequence[str], after: Key | None, last: Key
) -> sql.Composed:
    """A list field's items, each behind its record's key, of the records behind `after` up to `last`."""
    upto = sql.SQL("({}) <= ({})").format(listed("t", capture.key), _values(capture, last))
    return sql.SQL("select {}, {} from {} t join {} c on {} where {} order by {}, {}").format(
        listed("t", capture.key),
        listed("c", names),
        capture.table.identifier,
        child.table.identifier,
        parent_join(capture, child),
        _all([*_whole(capture), *_behind(capture, after), upto]),
        listed("t", capture.key),
        listed("c", child.order),
    )


def unkeyed_rows(capture: Capture) -> sql.Composed | None:
    """Rows (the capture's `columns`) with a null in their key; None where there can be none."""
    nullable = _nullable(capture)
    if not nullable:
        return None
    missing = sql.SQL(" or ").join(sql.SQL("{} is null").format(sql.Identifier("t", name)) for name in nullable)
    return sql.SQL("select {} from {} t where {}").format(
        listed("t", capture.columns()), capture.table.identifier, missing
    )


def listed(alias: str, names: Sequence[str]) -> sql.Composed:
    """`alias.name, ...`."""
    return sql.SQL(", ").join(sql.Identifier(alias, name) for name in names)


def _nullable(capture: Capture) -> list[str]:
    return [name for name in capture.key if capture.table.columns[name].nullable]


def _whole(capture: Capture) -> list[sql.Composable]:
    return [sql.SQL("{} is not null").format(sql.Identifier("t", name)) for name in _nullable(capture)]


def _behind(capture: Capture, after: Key | None) -> list[sql.Composable]:
    if after is None:
        return []
    return [sql.SQL("({}) > ({})").format(listed("t", capture.key), _values(capture, after))]


def _values(capture: Capture, key: Key) -> sql.Composed:
    return sql.SQL(", ").join(
        sql.SQL("{}::{}").format(_Text(part or b""), sql.SQL(capture.table.columns[name].native))
        for name, part in zip(capture.key, key, strict=True)
    )


def _all(conditions: Sequence[sql.Composable]) -> sql.Composable:
    return sql.SQL(" and ").join(conditions) if conditions else sql.SQL("true")


class _Text(sql.Composable):
    """A value's text, whatever bytes it has: text in SQL_ASCII need not be UTF-8."""

    def __init__(self, text: bytes) -> None:
        super().__init__(text)
        self._text = text

    def as_bytes(self, context: Any = None) -> bytes:  # noqa: ARG002
        return b"'" + self._text.replace(b"'", b"''") + b"'"
