"""The session's temporary tables, which autovacuum never looks at.

A table that is never vacuumed, though it be empty, keeps the database from forgetting old transactions. From 200
million of them on the server vacuums all the time for that, in vain; two thousand million end all writing.
"""

from __future__ import annotations

from psycopg import sql

from sorbus.postgres.connection import Connection

_TABLES = b"select relname from pg_class where relnamespace = pg_my_temp_schema() and relkind = 'r'"


def vacuum_session_tables(session: Connection) -> None:
    """Vacuums them; to be called in no transaction. psycopg.Error."""
    session.autocommit = True
    try:
        names = [sql.Identifier("pg_temp", str(name)) for (name,) in session.execute(_TABLES).fetchall()]
        if names:
            session.execute(sql.SQL("vacuum (freeze) {}").format(sql.SQL(", ").join(names)))
    finally:
        if not session.closed:
            session.autocommit = False
