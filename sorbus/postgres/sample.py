"""A few rows of a table, to show how its values are written. Read-only."""

from __future__ import annotations

from psycopg import sql
from psycopg.rows import dict_row

from sorbus.postgres.connection import PostgresConnection, connect, postgres_errors


def sample_rows(connection: PostgresConnection, table: str, limit: int) -> list[dict[str, object]]:
    """Up to `limit` rows of a table by column, in no order. TransientError, AuthError, PermanentError."""
    with connect(connection, "suggest") as session, postgres_errors(f"reading a few rows of {table}"):
        session.read_only = True
        session.execute("set row_security = off")  # all rows, or an error
        query = sql.SQL("SELECT * FROM {} LIMIT {}").format(sql.Identifier(*table.split(".")), sql.Literal(limit))
        return session.cursor(row_factory=dict_row).execute(query).fetchall()
