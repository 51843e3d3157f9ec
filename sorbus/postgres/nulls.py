"""Counts rows of a table without a value, so that a required field isn't filled from a sparse column. Read-only."""

from __future__ import annotations

import psycopg
from psycopg import sql

from sorbus.discovery import NullCount
from sorbus.postgres.connection import Connection, PostgresConnection, connect, postgres_errors

_PATIENCE_MS = 5000
_SAMPLE = 10_000
_MOST_COLUMNS = 1600


def count_nulls(connection: PostgresConnection, columns: dict[str, list[str]]) -> dict[tuple[str, str], NullCount]:
    """(table, column) -> rows without a value. Of all rows, or of a few thousand if all would take longer than 5 s.

    Unreadable columns are left out. TransientError, AuthError.
    """
    found: dict[tuple[str, str], NullCount] = {}
    with connect(connection, "discover", autocommit=True) as session, postgres_errors("counting empty values"):
        session.execute(sql.SQL("set statement_timeout = {}").format(sql.Literal(_PATIENCE_MS)))
        session.execute("set default_transaction_read_only = on")
        for table, names in columns.items():
            for limit in (None, _SAMPLE):
                try:
                    found.update(_count(session, table, names[:_MOST_COLUMNS], limit))
                    break
                except psycopg.errors.QueryCanceled:
                    continue
                except (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedTable):
                    break
    return found


def _count(session: Connection, table: str, names: list[str], limit: int | None) -> dict[tuple[str, str], NullCount]:
    counts = sql.SQL(", ").join(sql.SQL("count({})").format(sql.Identifier(name)) for name in names)
    source = sql.SQL("select {} from {}").format(
        sql.SQL(", ").join(map(sql.Identifier, names)), sql.Identifier(*table.split(".", 1))
    )
    if limit is not None:
        source += sql.SQL(" limit {}").format(sql.Literal(limit))
    row = session.execute(sql.SQL("select count(*), {} from ({}) as rows").format(counts, source)).fetchone()
    assert row is not None
    rows = int(str(row[0]))
    return {
        (table, name): NullCount(rows, rows - int(str(there)), limit is not None and rows >= limit)
        for name, there in zip(names, row[1:], strict=True)
    }
