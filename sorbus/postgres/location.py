"""Which database a connection leads to, so that two systems with the same one are noticed."""

from __future__ import annotations

from sorbus.errors import AuthError
from sorbus.postgres.connection import PostgresConnection, connect, postgres_errors, read_dsn

_DATABASE = """
select system_identifier || '/' || (select oid from pg_database where datname = current_database())
from pg_control_system()
"""


def location(connection: PostgresConnection, *, ask: bool) -> str | None:
    """Host, port and database as written; with `ask` the cluster's identifier and the database's oid.

    None if unknown. TransientError, AuthError with `ask`.
    """
    if ask:
        with connect(connection, "plan", autocommit=True) as session, postgres_errors("asking which database it is"):
            row = session.execute(_DATABASE).fetchone()
        return None if row is None else str(row[0])
    try:
        given = read_dsn(connection)
    except AuthError:
        return None
    host = str(given.get("host") or given.get("hostaddr") or "localhost").lower().rstrip(".")
    host = "localhost" if host in ("127.0.0.1", "::1") else host
    name = given.get("dbname") or given.get("user")
    return None if name is None else f"{host}:{given.get('port') or 5432}/{name}"
