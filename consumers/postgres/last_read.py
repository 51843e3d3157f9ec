"""When a target's tables were last read, by PostgreSQL's own statistics (version 16 and newer)."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from sorbus.abilities import LastRead
from sorbus.connector import BoundFlow
from sorbus.consumers.postgres.options import PostgresTarget
from sorbus.postgres.catalog import qualified
from sorbus.postgres.connection import PostgresConnection, connect, postgres_errors

_QUERY = (Path(__file__).parent / "last_read.sql").read_bytes()
_SINCE_16 = 160000


def last_read(flow: BoundFlow) -> LastRead | None:
    """The last scan of its tables or of their indexes; None before PostgreSQL 16, or without the tables."""
    options, connection = flow.options, flow.system.connection
    assert isinstance(options, PostgresTarget)
    assert isinstance(connection, PostgresConnection)
    names = [options.table, *(child.table for child in options.children.values())]
    tables = [qualified(name) for name in names]
    doing = f"asking {flow.system.name} when {options.table} was last read"
    with postgres_errors(doing), connect(connection, "last-read") as session:
        if session.info.server_version < _SINCE_16:
            return None
        session.execute("set statement_timeout = '10s'")
        row = session.execute(_QUERY, {"tables": tables}).fetchone()
    if row is None or row[0] == 0:
        return None
    return LastRead(cast("float | None", row[1]), cast("float", row[2]))
