"""Diagnosis of a PostgreSQL server: version, clock, connections, slots and the WAL they retain."""

from __future__ import annotations

import time
from collections.abc import Iterator
from importlib.resources import files

from sorbus.diagnosis import Diagnosis, clock, size
from sorbus.postgres.connection import Connection, PostgresConnection, connect, postgres_errors

OLDEST, NEWEST = 14, 18
"""Major versions that Sorbus supports; newer ones most likely work."""

_FAULTY: dict[int, int] = {14: 19, 15: 14, 16: 10, 17: 6}
"""Major version -> the first minor whose logical decoding has none of the faults that `decoding_fault` tells of."""

_SERVER = (files("sorbus.postgres") / "diagnose.sql").read_text()
_SLOTS = (files("sorbus.postgres") / "diagnose_slots.sql").read_text()
_HELD = 1_000_000_000
_ALMOST = 0.9


def diagnose_server(where: str, connection: PostgresConnection, *, slots: bool = False) -> Iterator[Diagnosis]:
    """With `slots`, for a source: its replication slots and the capacity for one more. TransientError, AuthError."""
    with connect(connection, "doctor", autocommit=True) as session, postgres_errors(f"examining {where}"):
        before = time.time()
        row = session.execute(_SERVER).fetchone()
        after = time.time()
        assert row is not None
        version, shown, theirs, connections, connected, most_slots, has_slots, most_senders, senders = row
        yield _version(where, int(str(version)) // 10_000, str(shown))
        if slots and (fault := decoding_fault(int(str(version)))) is not None:
            what, fix = fault
            yield Diagnosis(where, "minor version", what, "warning", fix)
        yield clock(where, float(str(theirs)), before, after)
        yield _used(where, "connections", int(str(connected)), int(str(connections)), "max_connections")
        if slots:
            yield _used(where, "slots", int(str(has_slots)), int(str(most_slots)), "max_replication_slots")
            yield _used(where, "WAL senders", int(str(senders)), int(str(most_senders)), "max_wal_senders")
            yield from _slots(where, session)


def _version(where: str, major: int, shown: str) -> Diagnosis:
    found = f"PostgreSQL {shown}"
    if major < OLDEST:
        return Diagnosis(where, "version", found, "problem", f"upgrade it: Sorbus needs PostgreSQL {OLDEST} or newer")
    if major > NEWEST:
        fix = f"nothing, if all works: Sorbus is tested with PostgreSQL {OLDEST} to {NEWEST}"
        return Diagnosis(where, "version", found, "warning", fix)
    return Diagnosis(where, "version", found)


def decoding_fault(version: int) -> tuple[str, str] | None:
    """What a server's own logical decoding does wrong, and what to do; None from the release on that corrects it.

    `version`: `server_version_num`.
    """
    major, minor = divmod(version, 10_000)
    first = _FAULTY.get(major, 0)
    if minor >= first:
        return None
    what = f"PostgreSQL {major}.{minor} has a fault in its logical decoding, corrected in {major}.{first}: "
    if minor < first - 1:
        what += "a running stream can miss all changes of a table that joins a publication while somebody writes to it"
    else:
        what += "a stream can stop with `invalid memory alloc request size` while tables are altered"
    return what, f"update the server to {major}.{first} or newer; it keeps its data and its slots"


def _used(where: str, what: str, used: int, most: int, setting: str) -> Diagnosis:
    found = f"{used} of {most} in use"
    if used < _ALMOST * most:
        return Diagnosis(where, what, found)
    return Diagnosis(where, what, found, "warning", f"raise {setting} on the server, or free some")


def _slots(where: str, session: Connection) -> Iterator[Diagnosis]:
    for name, active, status, held, limit in session.execute(_SLOTS).fetchall():
        what, bytes_held = f"slot {name}", int(str(held))
        found = f"{'active' if active else 'not read by anything'}, keeps {size(bytes_held)} of the server's log"
        if status == "lost":
            fix = "see docs/runbooks/stopped.md; drop the slot if nothing needs it"
            yield Diagnosis(where, what, "lost: the server has removed the log it needs", "problem", fix)
        elif status == "unreserved":
            fix = f"start its reader now, or raise max_slot_wal_keep_size (it is {limit})"
            yield Diagnosis(where, what, f"about to be lost: {found}", "problem", fix)
        elif not active and bytes_held > _HELD:
            fix = f"start its reader, or: select pg_drop_replication_slot('{name}')"
            yield Diagnosis(where, what, found, "warning", fix)
        else:
            yield Diagnosis(where, what, found)
