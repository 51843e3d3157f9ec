"""Whether a transaction that begins in the log fits those that were read before it; no I/O."""

from __future__ import annotations

from typing import NamedTuple

from sorbus.errors import LostPosition
from sorbus.producers.mysql.gtids import MariadbGtids
from sorbus.producers.mysql.log_events import LogGtid
from sorbus.producers.mysql.position import MysqlPosition


class Half(NamedTuple):
    """A transaction of which a part is on the bus: `done` of its row events. `at`: when it committed (0: not known)."""

    gtid: str = ""
    at: int = 0
    done: int = 0


def require_known(begun: LogGtid, state: MysqlPosition) -> None:
    """LostPosition where a transaction that counts as read is another one than the one that was."""
    if begun.gtid == state.last:
        if begun.committed_at != state.last_at:
            raise LostPosition(
                f"transaction {begun.gtid} was committed at another time than the one that was read: the server's log"
                " has another history (RESET MASTER, a restored backup, or another server)"
            )
    elif state.is_mariadb and begun.gtid in state.gtids:
        raise LostPosition(
            f"transaction {begun.gtid} is none of those that were read, and {state.gtids} are past its number: the"
            " log has another history since a failover, or two servers write in one domain. Against the second, let"
            " an administrator run `SET GLOBAL gtid_strict_mode = ON;`, or give each its own gtid_domain_id"
        )


def require_rest(begun: LogGtid, half: Half, *, is_mariadb: bool) -> None:
    """LostPosition where the transaction of which a part is on the bus doesn't come again."""
    if begun.gtid == half.gtid:
        is_another = half.at not in (0, begun.committed_at)
    else:
        is_another = bool(half.gtid) and is_mariadb and half.gtid in MariadbGtids(begun.gtid)
    if is_another:
        raise LostPosition(
            f"transaction {half.gtid}, of which a part was read, isn't in the log any more: the server's log has"
            " another history since a crash or a failover"
        )
