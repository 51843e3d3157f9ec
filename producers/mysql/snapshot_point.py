"""Consistent snapshots, and where in the log each one is. No table is locked.

MariaDB says itself at which place of its log a snapshot was taken (`binlog_snapshot_position`); commits wait for that
moment only. MySQL doesn't, so what it has executed is read first: a transaction that commits in between is in the
snapshot and comes again by the log, which ends on the same state.
"""

from __future__ import annotations

import time
from typing import NamedTuple

from sorbus.errors import TransientError
from sorbus.mysql.connection import Session
from sorbus.producers.mysql.gtids import Gtids, gtids_of
from sorbus.producers.mysql.server import MysqlServer, executed

_PATIENCE = 20.0
"""Seconds until what the log has told must be visible: the server writes the log before it commits."""


class SnapshotPoint(NamedTuple):
    """What a snapshot has seen, and the place in the log (MariaDB)."""

    gtids: Gtids
    file: str = ""
    end: int = 0


def begin_snapshot(session: Session, server: MysqlServer) -> SnapshotPoint:
    """Begins a transaction that sees one moment; the session is in no other one. pymysql.Error."""
    if not server.is_mariadb:
        before = executed(session, server)
        _begin(session)
        return SnapshotPoint(before)
    _begin(session)
    file, end = _place(session)
    found = session.value("select binlog_gtid_pos(%s, %s)", [file, end]) or ""
    return SnapshotPoint(gtids_of(found, is_mariadb=True), file, end)


def begin_after(session: Session, server: MysqlServer, gtid: str, file: str, end: int) -> None:
    """Begins a transaction that sees a transaction which the log has told of. TransientError, pymysql.Error."""
    deadline = time.monotonic() + _PATIENCE
    if not server.is_mariadb:
        if gtid and session.value("select wait_for_executed_gtid_set(%s, %s)", [gtid, _PATIENCE]) != "0":
            raise TransientError(f"transaction {gtid} is in the log and not committed yet")
        return _begin(session)
    while True:
        _begin(session)
        if _order(*_place(session)) >= _order(file, end):
            return None
        session.execute("rollback")
        if time.monotonic() > deadline:
            raise TransientError(f"transaction {gtid} is in the log and not committed yet")
        time.sleep(0.002)


def _begin(session: Session) -> None:
    session.execute("set transaction isolation level repeatable read")
    session.execute("start transaction with consistent snapshot, read only" if not session.is_mariadb
                    else "start transaction with consistent snapshot")  # fmt: skip


def _place(session: Session) -> tuple[str, int]:
    rows = session.query("show status where variable_name in ('binlog_snapshot_file', 'binlog_snapshot_position')")
    found = {str(name).lower(): str(value) for name, value in rows}
    return found["binlog_snapshot_file"], int(found["binlog_snapshot_position"] or 0)


def _order(file: str, end: int) -> tuple[int, int]:
    number = file.rpartition(".")[2]
    return (int(number) if number.isdigit() else 0, end)
