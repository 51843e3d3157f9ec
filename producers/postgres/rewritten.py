"""Tables that were rewritten after a snapshot was taken: to it they look empty, and no row may be missed for that.

ALTER TABLE and TRUNCATE give a table another file, in which no older snapshot finds a row (PostgreSQL documentation,
"Caveats" of concurrency control): a query whose snapshot is older waits for their lock, and then reads nothing. The
catalog's columns don't show it, where it is one that nobody reads. So files are compared once the lock is held.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files

from sorbus.postgres.connection import Connection
from sorbus.producers.postgres.capture import Capture

_REWRITTEN = (files("sorbus.producers.postgres") / "rewritten.sql").read_text()
Files = Mapping[int, int]
"""Relation (oid) -> its file."""


def files_seen(session: Connection, capture: Capture) -> Files:
    """The files of a data type's tables as the session's snapshot shows them. psycopg.Error."""
    return {oid: seen for oid, seen, _ in _read(session, capture)}


def is_rewritten(session: Connection, capture: Capture) -> bool:
    """Whether some table has another file than in the session's snapshot; it holds their locks. psycopg.Error."""
    return any(seen != now for _, seen, now in _read(session, capture))


def are_others(seen: Files, now: Files) -> bool:
    """Whether some table has another file now."""
    return any(now.get(oid) != file for oid, file in seen.items())


def _read(session: Connection, capture: Capture) -> list[tuple[int, int, int]]:
    oids = [capture.table.oid, *(child.table.oid for child in capture.children)]
    rows = session.execute(_REWRITTEN.encode(), (oids,)).fetchall()
    return [(int(str(oid)), int(str(seen)), int(str(now))) for oid, seen, now in rows]
