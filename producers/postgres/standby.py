"""Failover: the slot's copies on standbys (PostgreSQL 17 and newer), and whether each could take over now.

Standbys are known where the dsn names several hosts, as libpq allows; the primary is found at each connection.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from importlib.resources import files

import psycopg
from psycopg import sql

from sorbus.connector import BoundSystem
from sorbus.diagnosis import Diagnosis
from sorbus.errors import SorbusError
from sorbus.postgres.connection import Connection, PostgresConnection, connect, hosts_of, postgres_errors
from sorbus.producers.postgres.slot import FAILOVER, slot_name

_COPY = (files("sorbus.producers.postgres") / "standby.sql").read_text()
_log = logging.getLogger(__name__)


def keep_for_failover(session: Connection, replication: Connection, slot: str) -> None:
    """Lets standbys copy a slot that an older release or server made. `replication`: not yet streaming."""
    if session.info.server_version < FAILOVER:
        return
    row = session.execute("select failover from pg_replication_slots where slot_name = %s", (slot,)).fetchone()
    if row is None or row[0]:
        return
    try:
        replication.execute(sql.SQL("ALTER_REPLICATION_SLOT {} (FAILOVER true)").format(sql.Identifier(slot)))
    except psycopg.Error as error:  # it streams all the same
        _log.warning("slot %s can't be kept for a failover: %s", slot, error)


def standby_faults(system: BoundSystem) -> list[str] | None:
    """Why a standby couldn't take over without a resnapshot, each with its fix; None where no standby is known."""
    assert isinstance(system.connection, PostgresConnection)
    hosts, slot = hosts_of(system.connection), slot_name(system)
    if len(hosts) == 1:
        return None
    with connect(system.connection, "watch", autocommit=True) as session, postgres_errors(f"asking {system.name}"):
        if session.info.server_version < FAILOVER:
            return []  # nothing to be fixed there: after a failover all is snapshotted
        found = list(_of_primary(session, slot))
    for name, connection in hosts.items():
        found += [f"standby {name}: {fault}" for fault in _of_standby(connection, slot)]
    return found


def diagnose_failover(system: BoundSystem) -> Iterator[Diagnosis]:
    """For `sorbus doctor`: whether a failover would need a resnapshot."""
    faults = standby_faults(system)
    if faults is None:
        return
    fix = "follow docs/runbooks/source-failed-over.md"
    for fault in faults:
        yield Diagnosis(system.name, "failover", fault, "warning", fix)
    if not faults:
        yield Diagnosis(system.name, "failover", "its standbys keep a copy of the slot, as far as its version allows")


def _of_primary(session: Connection, slot: str) -> Iterator[str]:
    row = session.execute(
        "select (select failover from pg_replication_slots where slot_name = %s),"
        " current_setting('synchronized_standby_slots')",
        (slot,),
    ).fetchone()
    if row is None or row[0] is None:
        return  # no slot yet, or lost: others say that
    if not row[0]:
        yield f"slot {slot} isn't kept for a failover: restart the producer, which changes that"
    if not row[1]:
        yield (
            "the primary's synchronized_standby_slots is empty: Sorbus may read what no standby has received; name the"
            " physical slots of the standbys there"
        )


def _of_standby(connection: PostgresConnection, slot: str) -> Iterator[str]:
    try:
        with connect(connection, "watch", autocommit=True) as session, postgres_errors("asking a standby"):
            row = session.execute(_COPY, (slot,)).fetchone()
    except SorbusError as error:
        yield f"it can't be asked: {error}"
        return
    assert row is not None
    is_standby, copy, syncs, feedback = row
    if not is_standby:
        return
    if not isinstance(copy, dict):
        off = [name for name, is_on in (("sync_replication_slots", syncs), ("hot_standby_feedback", feedback))
               if is_on == "off"]  # fmt: skip
        fix = f"set {' and '.join(off)} = on" if off else "see that primary_conninfo names a dbname, and its log"
        yield f"it has no copy of slot {slot}: {fix}"
    elif not copy.get("synced"):
        yield f"its slot {slot} isn't a copy of the primary's: drop it there"
    elif reason := copy.get("invalidation_reason"):
        yield f"its copy of slot {slot} is invalid ({reason}); the server makes it again once it is dropped there"
    elif copy.get("temporary"):
        yield f"its copy of slot {slot} isn't usable yet: the standby lags, or the source is idle and without heartbeat"
