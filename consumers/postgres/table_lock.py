"""Holding off other writers of ours while a batch is written to a table."""

from __future__ import annotations

from psycopg import sql

from sorbus.postgres.connection import Connection

LOCKED_ROWS, OTHER_WRITERS = "400ms", "5s"
"""How long a batch waits. For rows less than PostgreSQL's deadlock_timeout (1 s): it is we who give way and try again,
never the target's programs that lose their work.
"""


def table_lock(session: Connection, relation: str, *, alone: bool) -> bytes:
    """The statement that waits for writers of a table: for all, or for those `alone`, until the transaction ends.

    One, since each statement of a small batch costs as much as its rows. What it selects is done from left to right:
    one time limit is for the lock, the other for what follows.
    """
    lock = sql.SQL("pg_advisory_xact_lock" if alone else "pg_advisory_xact_lock_shared")
    held = sql.SQL("{}(hashtext({}))").format(lock, relation)
    limits = [sql.SQL("set_config('lock_timeout', {}, true)").format(limit) for limit in (OTHER_WRITERS, LOCKED_ROWS)]
    return sql.SQL("select {}, {}, {}").format(limits[0], held, limits[1]).as_bytes(session)
