"""The files of a data type's tables: see `sorbus.postgres.rewritten`."""

from __future__ import annotations

from collections.abc import Mapping

from sorbus.postgres.connection import Connection
from sorbus.postgres.rewritten import TableFile, table_files
from sorbus.producers.postgres.capture import Capture

Files = Mapping[int, int]
"""Relation (oid) -> its file."""


def files_seen(session: Connection, capture: Capture) -> Files:
    """The files of a data type's tables as the session's snapshot shows them. psycopg.Error."""
    return {file.oid: file.seen for file in _read(session, capture)}


def is_rewritten(session: Connection, capture: Capture) -> bool:
    """Whether some table has another file than in the session's snapshot; it holds their locks. psycopg.Error."""
    return any(file.seen != file.now for file in _read(session, capture))


def are_others(seen: Files, now: Files) -> bool:
    """Whether some table has another file now."""
    return any(now.get(oid) != file for oid, file in seen.items())


def _read(session: Connection, capture: Capture) -> list[TableFile]:
    return table_files(session, [capture.table.oid, *(child.table.oid for child in capture.children)])
