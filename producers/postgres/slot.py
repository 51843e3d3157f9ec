"""The replication slot: its state, its making, and whether it still has what comes after our position."""

from __future__ import annotations

import time
from importlib.resources import files
from typing import NamedTuple

import psycopg
from psycopg import sql
from psycopg.errors import DuplicateObject

from sorbus.connector import BoundSystem
from sorbus.errors import LostPosition, TransientError
from sorbus.postgres.connection import Connection, PostgresConnection, full_dsn, lift_transaction_limit, postgres_errors
from sorbus.producers.postgres.pending_query import PendingQuery
from sorbus.producers.postgres.pgoutput import lsn_text, parse_lsn
from sorbus.producers.postgres.position import PostgresPosition

_SLOT = (files("sorbus.producers.postgres") / "slot.sql").read_text()

FAILOVER = 170000
"""The first PostgreSQL version whose slots can be copied to standbys."""
_LEAVES = 10.0
"""Seconds that a server process may take to leave the slot after its connection was closed."""


class Slot(NamedTuple):
    """A slot as pg_replication_slots shows it; LSNs as numbers. `status`: reserved, extended, unreserved or lost;
    `invalid`: why the server has given it up, "" where it hasn't; `foreign`: why it can't be ours, "" where it can.
    """

    active_pid: int | None
    confirmed: int
    status: str
    lag: int
    invalid: str = ""
    foreign: str = ""


class ExportedSnapshot(NamedTuple):
    """What a new slot gives: the LSN from which its stream is complete, and the snapshot of the state just before."""

    consistent_point: int
    name: str


def slot_name(system: BoundSystem) -> str:
    """The slot's and the publication's name: lower-case letters, digits and underscores, as slots demand."""
    text = f"sorbus_{system.topic_prefix}{system.name}".lower()
    return "".join(letter if letter.isalnum() else "_" for letter in text)[:63]


def read_slot(connection: Connection, name: str) -> Slot | None:
    """The slot's state; None when there is none of that name."""
    row = connection.execute(_SLOT, (name,)).fetchone()
    if row is None:
        return None
    pid, confirmed, status, lag, invalid, foreign = row
    at = parse_lsn(str(confirmed or "0/0"))
    return Slot(None if pid is None else int(str(pid)), at, str(status), int(str(lag)), str(invalid), str(foreign))


class SlotMaking:
    """A slot that is being made: the server waits for the transactions that run at that moment to end, however long.

    The snapshot lives as long as `session` does nothing else.
    """

    def __init__(self, connection: PostgresConnection, name: str, *, temporary: bool) -> None:
        self._name = name
        self.session = connect_replication(connection, name)
        if temporary:
            command = sql.SQL("CREATE_REPLICATION_SLOT {} TEMPORARY LOGICAL pgoutput EXPORT_SNAPSHOT")
        elif self.session.info.server_version >= FAILOVER:  # standbys then keep a copy, and may become the primary
            command = sql.SQL("CREATE_REPLICATION_SLOT {} LOGICAL pgoutput (SNAPSHOT 'export', FAILOVER true)")
        else:
            command = sql.SQL("CREATE_REPLICATION_SLOT {} LOGICAL pgoutput EXPORT_SNAPSHOT")
        with postgres_errors(f"making the replication slot {name}"):
            self._asked = PendingQuery(self.session, command.format(sql.Identifier(name)))

    def snapshot(self, wait: float) -> ExportedSnapshot | None:
        """What the new slot gives; None when it isn't made within `wait` seconds."""
        with postgres_errors(f"making the replication slot {self._name}"):
            try:
                answer = self._asked.answer(wait)
            except DuplicateObject as error:
                raise TransientError(f"{error}: another producer makes it, or one has just gone") from error
        if answer is None:
            return None
        point, name = answer.get_value(0, 1), answer.get_value(0, 2)
        assert point is not None
        assert name is not None
        return ExportedSnapshot(parse_lsn(point.decode()), name.decode())

    def cancel(self) -> None:
        """Gives up what is not made yet; what is made stays."""
        with postgres_errors(f"giving up the replication slot {self._name}"):
            self._asked.cancel()


def connect_replication(connection: PostgresConnection, name: str) -> Connection:
    """A connection that speaks the replication protocol."""
    with postgres_errors("connecting for replication"):
        session = psycopg.connect(full_dsn(connection, name, unhurried=True, replication="database"), autocommit=True)
        lift_transaction_limit(session)  # it holds the first copy's snapshot
        return session


def drop_slot(connection: Connection, name: str, ending: int | None = None) -> None:
    """Drops the slot if it is there and nobody streams from it; TransientError while somebody does.

    `ending`: a server process of ours that is about to leave it, and is waited for. LostPosition for a slot that
    somebody else made: it is theirs to drop.
    """
    slot, deadline = read_slot(connection, name), time.monotonic() + _LEAVES
    while slot is not None and ending is not None and slot.active_pid == ending and time.monotonic() < deadline:
        time.sleep(0.05)
        slot = read_slot(connection, name)
    if slot is None:
        return
    if slot.foreign:
        raise LostPosition(
            f"there is a replication slot {name} that {slot.foreign}: it isn't Sorbus's. Whoever made it has to give it"
            f" another name, or drop it where nobody needs it any more: `select pg_drop_replication_slot('{name}')`"
        )
    if slot.active_pid is not None:
        raise TransientError(f"slot {name} is in use by the server process {slot.active_pid}: another producer runs")
    with postgres_errors(f"dropping the replication slot {name}"):
        connection.execute("select pg_drop_replication_slot(%s)", (name,))


def loss(state: PostgresPosition, slot: Slot | None, name: str) -> str | None:
    """Why the slot doesn't have all changes after our position, and the page to follow; None when it does."""
    why = _loss(state, slot, name)
    return why and f"{why} (docs/runbooks/slot-dropped.md)"


def _loss(state: PostgresPosition, slot: Slot | None, name: str) -> str | None:
    if slot is None:
        return f"its replication slot {name} is gone"
    if slot.foreign:
        return f"its replication slot {name} was replaced by one that {slot.foreign}"
    if slot.status == "lost" or slot.invalid:
        why = slot.invalid or "max_slot_wal_keep_size"
        return f"its replication slot {name} has lost the log it needs ({why})"
    if slot.confirmed > state.lsn:
        return (
            f"its replication slot {name} is at {lsn_text(slot.confirmed)}, beyond Sorbus's position"
            f" {lsn_text(state.lsn)}: another client read from it or moved it, it was made by hand,"
            " or the positions topic was set back"
        )
    if state.confirmed and state.confirmed < slot.confirmed < state.lsn:
        return (
            f"its replication slot {name} is at {lsn_text(slot.confirmed)}, where Sorbus never moved it: it was made by"
            " hand, or moved by another client"
        )
    return None


def advice(lost: str, system: str) -> str:
    """What a person is told who has to decide what to do about `lost`."""
    return (
        f"{system}: {lost}. The changes in between are not to be had any more, and Sorbus doesn't skip them. Write"
        f" `on_lost_slot: resnapshot` under `systems: {system}:` in the map to copy its data types again (targets keep"
        " is equal, and what was deleted meanwhile is deleted), then start the producer. Don't make a slot by hand: it"
        " would begin after the changes that are missing"
    )
