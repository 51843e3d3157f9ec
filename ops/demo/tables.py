"""Writing rows into tables of a source, by column names."""

from __future__ import annotations

from collections.abc import Iterable

from psycopg import sql

from sorbus.ops.demo.feed import Connection
from sorbus.ops.demo.rows import Row


def insert(connection: Connection, table: str, row: Row) -> object:
    """Inserts one row and returns its first column: the key, in the demo's tables."""
    statement = sql.SQL("insert into {} ({}) values ({}) returning *").format(
        sql.Identifier(table),
        sql.SQL(", ").join(map(sql.Identifier, row)),
        sql.SQL(", ").join([sql.Placeholder()] * len(row)),
    )
    made = connection.execute(statement, list(row.values())).fetchone()
    assert made is not None
    return made[0]


def update(connection: Connection, table: str, key: Row, changed: Row) -> None:
    """Sets columns of the one row that `key` names."""
    statement = sql.SQL("update {} set {} where {}").format(
        sql.Identifier(table),
        sql.SQL(", ").join(sql.SQL("{} = %s").format(sql.Identifier(name)) for name in changed),
        sql.SQL(" and ").join(sql.SQL("{} = %s").format(sql.Identifier(name)) for name in key),
    )
    connection.execute(statement, [*changed.values(), *key.values()])


def copy(connection: Connection, table: str, made: Iterable[Row]) -> int:
    """Copies rows, all with the same columns, into a table; returns how many."""
    source = iter(made)
    first = next(source, None)
    if first is None:
        return 0
    columns = sql.SQL(", ").join(map(sql.Identifier, first))
    count = 0
    with (
        connection.cursor() as cursor,
        cursor.copy(sql.SQL("copy {} ({}) from stdin").format(sql.Identifier(table), columns)) as into,
    ):
        for row in (first, *source):
            into.write_row(list(row.values()))
            count += 1
    return count
