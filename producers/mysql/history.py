"""Whether a server still has the history that a position was read from."""

from __future__ import annotations

from sorbus.producers.mysql.gtids import Gtids, MariadbGtids, MysqlGtids
from sorbus.producers.mysql.position import MysqlPosition
from sorbus.producers.mysql.server import MysqlServer


def history_fault(server: MysqlServer, state: MysqlPosition, now: Gtids) -> str | None:
    """Why the log can't be read on from a position; None if nothing speaks against it. `now`: what the server has."""
    if server.is_mariadb != state.is_mariadb:
        return "the server is another product than the one that was read so far"
    covers = (
        now.covers(state.gtids)
        if isinstance(now, MariadbGtids) and isinstance(state.gtids, MariadbGtids)
        else isinstance(now, MysqlGtids) and isinstance(state.gtids, MysqlGtids) and now.covers(state.gtids)
    )
    if covers:
        return None
    return (
        f"the server has executed {now or 'nothing'}, and {state.gtids} was read from it: its log has another history"
        " (RESET MASTER, a restored backup, or another server)"
    )
