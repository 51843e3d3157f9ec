"""Whether a table's key is unique: where it isn't, one row's delete must not delete the record of another."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

from sorbus.postgres.catalog import Table
from sorbus.postgres.connection import Connection

_UNIQUE = (files("sorbus.producers.postgres") / "unique.sql").read_text()


def not_unique(connection: Connection, table: Table, key: Sequence[str]) -> str | None:
    """Why two rows of a table may have the same key; None where the server keeps it unique.

    A unique index of some of the key's columns is enough; a row with a null in its key is not a record anyway.
    """
    near = []
    for holds, name, why, columns in connection.execute(_UNIQUE, (table.oid,)).fetchall():
        assert isinstance(columns, list)
        if holds and set(columns) <= set(key):
            return None
        if why and set(columns) <= set(key):
            near.append(f"its unique index {name} {why}")
    told = f" ({'; '.join(near)})" if near else ""
    return f"no unique index makes the key ({', '.join(key)}) of {table.name} unique{told}"


def unique_cure(table: Table, key: Sequence[str]) -> str:
    """What a person can do about it."""
    columns = ", ".join(f'"{name}"' for name in key)
    return (
        "of rows with equal keys any one stands for the record: name a unique key with `key:` in the map, or let the"
        f" tables' owner run: create unique index on {table.name} ({columns})"
    )
