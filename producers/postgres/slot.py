"""The replication slot: its state, its making, and what else has to change in the database before it can be used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import psycopg
from psycopg import sql

from sorbus.connector import BoundSource, BoundSystem, Step
from sorbus.errors import TransientError
from sorbus.postgres.catalog import Table
from sorbus.postgres.connection import Connection, PostgresConnection, connect, full_dsn, postgres_errors
from sorbus.postgres.statement import statement_step
from sorbus.producers.postgres.asked import Asked
from sorbus.producers.postgres.capture import Capture, open_captures
from sorbus.producers.postgres.pgoutput import lsn_text, parse_lsn
from sorbus.producers.postgres.publication import publication_statement
from sorbus.producers.postgres.state import State


class Slot(NamedTuple):
    """A slot as pg_replication_slots shows it; LSNs as numbers. `status`: reserved, extended, unreserved or lost."""

    active_pid: int | None
    confirmed: int
    status: str
    lag: int


class Snapshot(NamedTuple):
    """What a new slot gives: the LSN from which its stream is complete, and the snapshot of the state just before."""

    consistent_point: int
    name: str


def slot_name(system: BoundSystem) -> str:
    """The slot's and the publication's name: lower-case letters, digits and underscores, as slots demand."""
    text = f"sorbus_{system.topic_prefix}{system.name}".lower()
    return "".join(letter if letter.isalnum() else "_" for letter in text)[:63]


def read_slot(connection: Connection, name: str) -> Slot | None:
    """The slot's state; None when there is none of that name in this database."""
    row = connection.execute(
        "select active_pid, confirmed_flush_lsn::text, coalesce(wal_status, 'reserved'),"
        " coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn), 0)::bigint"
        " from pg_replication_slots where slot_name = %s and database = current_database()",
        (name,),
    ).fetchone()
    if row is None:
        return None
    pid, confirmed, status, lag = row
    return Slot(None if pid is None else int(str(pid)), parse_lsn(str(confirmed or "0/0")), str(status), int(str(lag)))


class SlotMaking:
    """A slot that is being made: the server waits for the transactions that run at that moment to end, however long.

    The snapshot lives as long as `session` does nothing else.
    """

    def __init__(self, connection: PostgresConnection, name: str, *, temporary: bool) -> None:
        self._name = name
        self.session = connect_replication(connection, name)
        kind = "TEMPORARY LOGICAL" if temporary else "LOGICAL"
        command = sql.SQL("CREATE_REPLICATION_SLOT {} " + kind + " pgoutput EXPORT_SNAPSHOT")
        with postgres_errors(f"making the replication slot {name}"):
            self._asked = Asked(self.session, command.format(sql.Identifier(name)))

    def snapshot(self, wait: float) -> Snapshot | None:
        """What the new slot gives; None when it isn't made within `wait` seconds."""
        with postgres_errors(f"making the replication slot {self._name}"):
            answer = self._asked.answer(wait)
        if answer is None:
            return None
        point, name = answer.get_value(0, 1), answer.get_value(0, 2)
        assert point is not None
        assert name is not None
        return Snapshot(parse_lsn(point.decode()), name.decode())

    def cancel(self) -> None:
        """Gives up what is not made yet; what is made stays."""
        with postgres_errors(f"giving up the replication slot {self._name}"):
            self._asked.cancel()


def connect_replication(connection: PostgresConnection, name: str) -> Connection:
    """A connection that speaks the replication protocol."""
    with postgres_errors("connecting for replication"):
        return psycopg.connect(full_dsn(connection, name, replication="database"), autocommit=True)


def drop_slot(connection: Connection, name: str) -> None:
    """Drops the slot if it is there and nobody streams from it; TransientError while somebody does."""
    slot = read_slot(connection, name)
    if slot is None:
        return
    if slot.active_pid is not None:
        raise TransientError(f"slot {name} is in use by the server process {slot.active_pid}: another producer runs")
    with postgres_errors(f"dropping the replication slot {name}"):
        connection.execute("select pg_drop_replication_slot(%s)", (name,))


def tables_of(captures: Sequence[Capture]) -> dict[str, Table]:
    """Every table that the data types are kept in, by name."""
    found = {capture.table.name: capture.table for capture in captures}
    for capture in captures:
        found |= {child.table.name: child.table for child in capture.children}
    return found


def loss(state: State, server: str, slot: Slot | None, name: str) -> str | None:
    """Why changes after our position are not to be had; None when they are."""
    if state.server != server:
        return f"the database is another one than before (it was {state.server}, it is {server})"
    if slot is None:
        return f"its replication slot {name} is gone"
    if slot.status == "lost":
        return f"its replication slot {name} has lost the log it needs (max_slot_wal_keep_size)"
    if slot.confirmed > state.lsn:
        return (
            f"its replication slot {name} is at {lsn_text(slot.confirmed)}, beyond our position {lsn_text(state.lsn)}:"
            " somebody else read from it, or the positions topic was set back"
        )
    return None


def advice(lost: str, system: str) -> str:
    """What a person is told who has to decide what to do about `lost`."""
    return (
        f"{system}: {lost}. The changes in between are not to be had any more, and Sorbus doesn't skip them. Write"
        f" `on_lost_slot: recopy` under `systems: {system}:` in the map to copy its data types again (targets keep what"
        " is equal, and what was deleted meanwhile is deleted), or bring back what is gone, then start the producer"
    )


def plan_source(system: BoundSystem, sources: Sequence[BoundSource]) -> list[Step]:
    """What has to change in the source database before its producer can run."""
    assert isinstance(system.connection, PostgresConnection)
    connection, name, steps = system.connection, slot_name(system), []
    with connect(connection, "plan", autocommit=True) as session, postgres_errors(f"planning {system.name}"):
        level = session.execute("show wal_level").fetchone()
        if level is not None and level[0] != "logical":
            steps.append(
                Step(
                    system.name,
                    "wal_level must be logical",
                    f"it is {level[0]}: `alter system set wal_level = logical`, then restart the server",
                )
            )
        captures = open_captures(session, sources)
        statement = publication_statement(session, name, tables_of(captures))
        if statement is not None:
            steps.append(statement_step(connection, system.name, f"publication {name}", statement, session))
        steps += _identity_steps(connection, system.name, session, captures)
        if read_slot(session, name) is None:
            steps.append(
                Step(
                    system.name,
                    f"slot {name}",
                    "made by the producer at its first start, with the first copy's snapshot",
                    _nothing,
                )
            )
    return steps


def _nothing() -> None:
    """The producer does it itself."""


def _identity_steps(
    connection: PostgresConnection, where: str, session: Connection, captures: Sequence[Capture]
) -> list[Step]:
    """Deletes and key changes must name the record: the old row has to carry its key, or an item's parent."""
    needs: dict[str, tuple[Table, set[str]]] = {}
    for capture in captures:
        needs.setdefault(capture.table.name, (capture.table, set()))[1].update(capture.key)
        for child in capture.children:
            needs.setdefault(child.table.name, (child.table, set()))[1].update(child.options.parent)
    steps = []
    for name, (table, columns) in sorted(needs.items()):
        row = session.execute("select relreplident::text from pg_class where oid = %s", (table.oid,)).fetchone()
        identity = row[0] if row else "d"
        if identity == "f" or (identity == "d" and columns <= set(table.key)):
            continue
        if identity == "i":
            found = session.execute(
                "select a.attname from pg_index i join pg_attribute a on a.attrelid = i.indrelid"
                " and a.attnum = any(i.indkey) where i.indrelid = %s and i.indisreplident",
                (table.oid,),
            ).fetchall()
            if columns <= {str(item[0]) for item in found}:
                continue
        statement = sql.SQL("alter table {} replica identity full").format(table.identifier)
        steps.append(statement_step(connection, where, f"replica identity of {name}", statement, session))
    return steps
