"""Which server it is, and whether it still is the one that a position was read from.

A position is good where the server's history has it: the same cluster and database, a log that reaches it, and a
timeline that was left after it, if it was left. A server restored from a snapshot, or a standby promoted before it had
received everything, has another history from some point on: what it has written since would be passed over.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from psycopg import sql

from sorbus.errors import TransientError
from sorbus.postgres.connection import Connection, postgres_errors
from sorbus.producers.postgres.pgoutput import MARK, lsn_text, parse_lsn
from sorbus.producers.postgres.position import PostgresPosition

_SERVER = """
select system_identifier || '/' || current_database(),
       (select oid::bigint from pg_database where datname = current_database()),
       substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8),
       pg_current_wal_insert_lsn()::text
from pg_control_system()
"""
_FLUSHED_MESSAGES = 170000
"""The first PostgreSQL version that flushes its log for a message."""


@dataclass(frozen=True, slots=True)
class Server:
    """A primary: its cluster's system identifier and the database, that database's oid, the timeline, its log's end."""

    name: str
    database: int
    timeline: int
    end: int

    @property
    def identity(self) -> str:
        """What a person writes as `accept_source`: SYSTEM IDENTIFIER/DATABASE/OID."""
        return f"{self.name}/{self.database}"


def read_server(connection: Connection, doing: str) -> Server:
    """The server behind a connection. TransientError while it is a standby: it may lag, which looks like a fork."""
    with postgres_errors(doing):
        row = connection.execute("select pg_is_in_recovery()").fetchone()
        if row is None or row[0]:
            raise TransientError(f"{doing}: the server is a standby (in recovery); a source is read from the primary")
        found = connection.execute(_SERVER).fetchone()
    assert found is not None
    name, database, timeline, end = found
    return Server(str(name), int(str(database)), int(str(timeline), 16), parse_lsn(str(end)))


def mark_log(session: Connection) -> int:
    """The end of the log, after a message that makes an idle stream pass it. psycopg.Error."""
    row = session.execute("select pg_logical_emit_message(false, 'sorbus', %s)::text", (MARK.decode(),)).fetchone()
    assert row is not None
    return parse_lsn(str(row[0]))


def make_durable(session: Connection, lsn: str | None = None) -> None:
    """What was committed before `lsn` (by now) outlives a crash of the server. psycopg.Error.

    With `synchronous_commit` off others see a commit before it does: what they have read of it would never have been.
    """
    row = session.execute(
        "select coalesce(%s::pg_lsn, pg_current_wal_insert_lsn()) <= pg_current_wal_flush_lsn()", (lsn,)
    ).fetchone()
    if row is not None and row[0]:
        return
    if session.info.server_version >= _FLUSHED_MESSAGES:
        session.execute("select pg_logical_emit_message(false, 'sorbus', '', true)")
        return
    with session.transaction():  # a commit of something
        session.execute("set local synchronous_commit = local")
        session.execute("select pg_logical_emit_message(true, 'sorbus', '')")


def another_database(state: PostgresPosition, server: Server) -> str | None:
    """Why this isn't the database that the position was read from; None when it is, also under a new name."""
    was, now = (name.partition("/")[0] for name in (state.server, server.name))
    is_known = was == now and state.database in (0, server.database)
    if is_known and (state.database or state.server == server.name):
        return None
    anew = " (recreated under the same name)" if state.server == server.name else ""
    before = f"{state.server}/{state.database}" if state.database else state.server
    return f"the database is another one than before: it was {before}, it is {server.identity}{anew}"


def not_accepted(other: str, server: Server, system: str) -> str:
    """What a person is told who has to decide whether `other` is right."""
    return (
        f"{system}: {other}. Nothing is read from it, since every target would be made equal to it. If it is the wrong"
        f" one, fix `connection:` under `systems: {system}:` in the map. If the records are there now, write"
        f" `accept_source: {json.dumps(server.identity)}` under `systems: {system}:`: then its data types are copied"
        " from it, and records that it lacks are deleted in the targets"
    )


def another_history(state: PostgresPosition, server: Server, replication: Connection | None) -> str | None:
    """Why a position isn't in this server's history, and the page to follow; None when it is.

    `replication`: needed to read about timelines.
    """
    why = _another_history(state, server, replication)
    return why and f"{why} (docs/runbooks/source-failed-over.md)"


def _another_history(state: PostgresPosition, server: Server, replication: Connection | None) -> str | None:
    if state.timeline and state.timeline != server.timeline and replication is not None:
        left = _left(replication, server.timeline).get(state.timeline)
        if left is None:
            return (
                f"the server is on timeline {server.timeline}, and nothing says that it came from timeline"
                f" {state.timeline}, which the position was read from"
            )
        if state.lsn > left:
            return (
                f"the server left timeline {state.timeline} at {lsn_text(left)}, before our position"
                f" {lsn_text(state.lsn)}: a standby that lagged was promoted, or the server was restored"
            )
    if state.lsn > server.end:
        return (
            f"the server's log ends at {lsn_text(server.end)}, before our position {lsn_text(state.lsn)}: it was"
            " restored to an earlier state, or a standby that lagged was promoted"
        )
    return None


def _left(replication: Connection, timeline: int) -> dict[int, int]:
    """The timelines that this one came from, each with the LSN at which it was left."""
    if timeline == 1:
        return {}
    with postgres_errors("reading the timeline's history"):
        row = replication.execute(sql.SQL("TIMELINE_HISTORY {}").format(sql.Literal(timeline))).fetchone()
    content = row[1] if row else ""
    text = bytes(content).decode(errors="replace") if isinstance(content, bytes | memoryview) else str(content)
    return {int(was): parse_lsn(at) for was, at in re.findall(r"^\s*(\d+)\s+([0-9A-Fa-f]+/[0-9A-Fa-f]+)", text, re.M)}
