"""Tables that were rewritten after a snapshot was taken: to it they look empty, and no row may be missed for that.

ALTER TABLE and TRUNCATE give a table another file, in which no older snapshot finds a row (PostgreSQL documentation,
"Caveats" of concurrency control): a query whose snapshot is older waits for their lock, and then reads nothing. The
catalog's columns don't show it, where it is one that nobody reads. So files are compared once the lock is held.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import NamedTuple

from sorbus.postgres.connection import Connection

_REWRITTEN = (files("sorbus.postgres") / "rewritten.sql").read_text()


class TableFile(NamedTuple):
    """A relation's file as the session's snapshot shows it, and now."""

    oid: int
    seen: int
    now: int


def table_files(session: Connection, oids: Sequence[int]) -> list[TableFile]:
    """Of these tables, their partitions and those that inherit from them. psycopg.Error."""
    rows = session.execute(_REWRITTEN.encode(), (list(oids),)).fetchall()
    return [TableFile(*(int(_text(value)) for value in row)) for row in rows]


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
