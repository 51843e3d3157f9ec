"""Whether a server still has the history that a position was read from."""

from __future__ import annotations

from collections.abc import Callable

from sorbus.connector import BoundSystem, Position
from sorbus.mysql.connection import session_for
from sorbus.mysql.discovery import connection_of
from sorbus.producers.mysql.gtids import Gtids, MariadbGtids, MysqlGtids
from sorbus.producers.mysql.position import MysqlPosition
from sorbus.producers.mysql.server import MysqlServer, executed, read_server


def history_fault(server: MysqlServer, state: MysqlPosition, now: Gtids) -> str | None:
    """Why the log can't be read on from a position; None if nothing speaks against it. `now`: what the server has."""
    if server.is_mariadb != state.is_mariadb:
        return "the server is another product than the one that was read so far"
    covers = (
        now.covers(state.gtids)
        if isinstance(now, MariadbGtids) and isinstance(state.gtids, MariadbGtids)
        else isinstance(now, MysqlGtids) and isinstance(state.gtids, MysqlGtids) and now.covers(state.gtids)
    )
    if covers and not (state.is_mariadb and state.transaction and state.transaction not in now):
        return None
    read = f"{state.gtids}{' and ' + state.transaction if state.transaction else ''}"
    return (
        f"the server has executed {now or 'nothing'}, and {read} was read from it: its log has another history"
        " (RESET MASTER, a restored backup, or another server)"
    )


def position_fault(system: BoundSystem, stored: Callable[[], Position | None]) -> str | None:
    """Why the log can't be read on from the stored position; None if nothing speaks against it.

    The position is read first: the server has executed all that it names. What was purged only shows when reading.
    """
    if (position := stored()) is None:
        return None
    state = MysqlPosition.from_position(position)
    with session_for(connection_of(system), "doctor", f"examining {system.name}") as session:
        server = read_server(session)
        return history_fault(server, state, executed(session, server))
