"""Whether a stored position still holds, asked beside the producer: changes nothing, and reads no table."""

from __future__ import annotations

from collections.abc import Callable

from sorbus.connector import BoundSystem, Position
from sorbus.postgres.connection import PostgresConnection, connect, postgres_errors
from sorbus.producers.postgres.position import PostgresPosition
from sorbus.producers.postgres.server import another_database, another_history, not_accepted, read_server
from sorbus.producers.postgres.slot import connect_replication, loss, read_slot, slot_name


def position_fault(system: BoundSystem, stored: Callable[[], Position | None]) -> str | None:
    """Why the stream can't continue from the stored position, with the page to follow; None if it can.

    The slot is read first: a running producer confirms only what is stored already.
    """
    assert isinstance(system.connection, PostgresConnection)
    name, doing = slot_name(system), f"examining {system.name}"
    with connect(system.connection, "doctor", autocommit=True) as session, postgres_errors(doing):
        slot = read_slot(session, name)
        if (position := stored()) is None:
            return None
        state, server = PostgresPosition.from_position(position), read_server(session, doing)
        if (other := another_database(state, server)) is not None:
            return None if system.system.accept_source == server.identity else not_accepted(other, server, system.name)
        if state.timeline in (0, server.timeline):
            lost = another_history(state, server, None)
        else:
            with connect_replication(system.connection, name) as replication:
                lost = another_history(state, server, replication)
    return lost or loss(state, slot, name)
