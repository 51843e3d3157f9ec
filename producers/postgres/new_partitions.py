"""Partitions that the stream has named before a look at the catalog did: by that look they may be gone with their rows.

A partition's rows come under its table's name. Before the first of them the server describes the table, and directly
behind it the partition.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sorbus.producers.postgres.position import PostgresPosition


class NewPartitions:
    """Those of one stream, until they are looked for."""

    def __init__(self) -> None:
        self._before: tuple[int, tuple[int, int]] | None = None
        self._found: dict[int, tuple[int, int]] = {}

    def __bool__(self) -> bool:
        return bool(self._found)

    def described(
        self, oid: int, place: tuple[int, int], xid: int, state: PostgresPosition, is_read: Callable[[int], bool]
    ) -> int | None:
        """The server has described a relation, in this transaction behind so many rows. `is_read`: whether anybody
        reads a table (oid); a publication of all tables tells of others, too.

        Its table (oid), where what it says of this partition is from before it was a table of its own for a while.
        """
        before, self._before = self._before, (oid, place)
        if before is None or before[1] != place or before[0] == oid or not is_read(before[0]):
            return None
        if not _is_known(oid, state):
            self._found[oid] = before[0], xid
            return None
        return before[0] if _was_away(oid, xid, state) else None

    def truncated(self, oids: Sequence[int]) -> None:
        """These were described for a truncate, which names no partitions."""
        for oid in oids:
            self._found.pop(oid, None)

    def gone(self, state: PostgresPosition) -> set[int]:
        """After a look, which `state` remembers: the tables that have lost some, also for a while. They are looked for
        no more.
        """
        gone = {
            table
            for oid, (table, xid) in self._found.items()
            if not _is_known(oid, state) or _was_away(oid, xid, state)
        }
        self._found.clear()
        return gone


def _is_known(oid: int, state: PostgresPosition) -> bool:
    return any(str(oid) in memory.members for tables in state.tables.values() for memory in tables.values())


def _was_away(oid: int, xid: int, state: PostgresPosition) -> bool:
    return any(memory.had_rows_before(oid, xid) for tables in state.tables.values() for memory in tables.values())
