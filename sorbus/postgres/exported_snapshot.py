"""Reading what another session sees (PostgreSQL documentation, "Snapshot Synchronization Functions")."""

from __future__ import annotations

from psycopg import errors, sql

from sorbus.errors import TransientError
from sorbus.postgres.connection import Connection


def join_snapshot(session: Connection, name: str) -> None:
    """First statement of a repeatable read transaction. TransientError once the session that exported it has ended."""
    try:
        session.execute(sql.SQL("set transaction snapshot {}").format(sql.Literal(name)))
    except (errors.UndefinedObject, errors.InvalidParameterValue) as error:
        raise TransientError(f"the session that holds snapshot {name} has ended") from error
