"""Dropping replication slots: a server process leaves its slot a moment after its client has gone."""

from __future__ import annotations

import psycopg


def drop_slots(connection: psycopg.Connection, name: str | None = None) -> None:
    """Drops the slot called `name`, or all of the database; whoever still reads one is ended first.

    `connection` commits each statement. A slot that isn't made yet ends with the server process that makes it.
    """
    chosen = "slot_name = %s" if name else "database = coalesce(%s, current_database())"
    connection.execute(
        f"select pg_terminate_backend(active_pid, 10000) from pg_replication_slots where {chosen}"
        " and active_pid is not null".encode(),
        [name],
    )
    connection.execute(
        f"select pg_drop_replication_slot(slot_name) from pg_replication_slots where {chosen}".encode(),
        [name],
    )
