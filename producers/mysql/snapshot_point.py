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
_SOON = 0.05
_CARRIED_OUT = 1.0
"""Seconds within which a server that has logged an `XA COMMIT` carries it out."""


class Told(NamedTuple):
    """The newest transaction that the log has told of (empty: none), and the place in the log behind it."""

    gtid: str = ""
    file: str = ""
    end: int = 0


class SnapshotPoint(NamedTuple):
    """What a snapshot has seen, and the place in the log (MariaDB)."""

    gtids: Gtids
    file: str = ""
    end: int = 0


def begin_snapshot(session: Session, server: MysqlServer, told: Told) -> SnapshotPoint:
    """Begins a transaction that sees one moment, with all that the log has told; the session is in no other one.

    TransientError, pymysql.Error.
    """
    if not server.is_mariadb:
        _wait(session, told.gtid)
        before = executed(session, server)
        _begin(session)
        return SnapshotPoint(before)
    begin_after(session, server, told)
    file, end = _place(session)
    point = SnapshotPoint(_seen(session, file, end), file, end)
    if str(session.query("show global status like 'Com_xa_commit'")[0][1]) != "0":
        session.execute("rollback")
        _until_carried_out(session)
        _begin(session)
    return point


def begin_after(session: Session, server: MysqlServer, told: Told) -> None:
    """Begins a transaction that sees all that the log has told. TransientError, pymysql.Error."""
    if not server.is_mariadb:
        _wait(session, told.gtid)
        return _begin(session)
    began = time.monotonic()
    ask_at = began + _SOON
    while True:
        _begin(session)
        place = _place(session)
        if not told.gtid or (told.file and _order(*place) >= _order(told.file, told.end)):
            return None
        now = time.monotonic()
        if now >= ask_at:  # the place is another server's, as after a failover
            if told.gtid in _seen(session, *place):
                return None
            ask_at = now + (now - began)
        session.execute("rollback")
        if now > began + _PATIENCE:
            raise _late(told.gtid)
        time.sleep(0.002)


def _wait(session: Session, gtid: str) -> None:
    if gtid and session.value("select wait_for_executed_gtid_set(%s, %s)", [gtid, _PATIENCE]) != "0":
        raise _late(gtid)


def _until_carried_out(session: Session) -> None:
    """`XA COMMIT` is in MariaDB's log, and before `binlog_snapshot_position`, a moment before its rows can be seen.
    Until then, its transaction is listed; what is listed for longer is prepared, and waits for somebody.
    """
    left, until = set(session.query("xa recover")), time.monotonic() + _CARRIED_OUT
    while left and time.monotonic() < until:
        time.sleep(0.002)
        left &= set(session.query("xa recover"))


def _late(gtid: str) -> TransientError:
    return TransientError(f"transaction {gtid} is in the log and not committed yet")


def _seen(session: Session, file: str, end: int) -> Gtids:
    """MariaDB's transactions before a place of the log, which it reads from the file's beginning to there."""
    return gtids_of(session.value("select binlog_gtid_pos(%s, %s)", [file, end]) or "", is_mariadb=True)


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
