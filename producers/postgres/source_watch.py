"""What capture relies on, as the database has it just now, and what has become of it since a position was stored.

Looked at whenever the producer connects, and every ten seconds: the tables and who else streams their rows, replica
identity, the publication. The server says nothing of these in the stream until a row comes, or never.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sorbus.errors import AuthError, TransientError
from sorbus.postgres.connection import Connection
from sorbus.producers.postgres.access import lacking_access
from sorbus.producers.postgres.capture import Capture, Members
from sorbus.producers.postgres.plan import check_tables, streamed_members, tables_of
from sorbus.producers.postgres.position import PostgresPosition
from sorbus.producers.postgres.publication import is_named, lapse, memberships
from sorbus.producers.postgres.tables import TableMemory, TableState, newly_attached, read_tables, untold


class SourceWatch:
    """Looks at what `captures` rely on; `publication` is the one that streams them."""

    def __init__(self, session: Connection, publication: str, captures: Sequence[Capture]) -> None:
        self._publication, self._captures = publication, captures
        self._tables: Mapping[str, TableState] = {}
        self._published: dict[str, str] = {}
        self._looked_at = 0
        self.look(session)

    def look(self, session: Connection) -> None:
        """Looks again. TransientError, which says what to do, while the stream can't tell everything; AuthError when
        our role can't read everything.
        """
        # In one snapshot: an ALTER TABLE between two queries would be half of it in each look, and never be noticed.
        with session.transaction():
            session.execute("set transaction isolation level repeatable read, read only")
            self._look(session)

    def _look(self, session: Connection) -> None:
        tables = read_tables(session, tables_of(self._captures))
        for capture in self._captures:
            for table in (capture.table, *(child.table for child in capture.children)):
                found = tables.get(table.name)
                if found is None or found.root.oid != table.oid:
                    what = "is gone" if found is None else "was replaced by another table of that name"
                    raise TransientError(f"{table.name}, which {capture.name} is kept in, {what}")
                partitions = frozenset(member.oid for member in found.members.values() if member.via == "partition")
                heirs = frozenset(member.oid for member in found.inheriting)
                capture.members[table.name] = Members(frozenset(found.members) - partitions, heirs, partitions)
        check_tables(self._captures, tables)
        if lacking := lacking_access(session, self._captures):
            raise AuthError("; ".join(f"{what}: {fix}" for what, fix in lacking))
        self._published = memberships(session, self._publication, streamed_members(tables.values()))
        self._tables = tables
        row = session.execute("select pg_current_wal_insert_lsn() - '0/0'::pg_lsn").fetchone()
        assert row is not None
        self._looked_at = int(str(row[0]))

    def set_anew(self, state: PostgresPosition) -> str:
        """The tables that the whole publication was without at some time, "" for none: it was made or set anew."""
        return lapse(state.published, self._published)[0]

    def lapsed(self, session: Connection, state: PostgresPosition) -> dict[str, str]:
        """The data types whose rows may not be what the stream has said of them since `state`, and why."""
        _, alone = lapse(state.published, self._published)
        found: dict[str, str] = {}
        for capture in self._captures:
            known = state.tables.get(capture.name, {})
            for name, columns in capture.reads().items():
                table = self._tables[name]
                streamed = [member.name for member in streamed_members([table])]
                away = [member for member in streamed if member in alone]
                named = all(is_named(self._published[member]) for member in streamed)
                why = f"the publication was without {', '.join(away)} for a while" if away else None
                if why is None and name in known:
                    why = untold(session, known[name], table, columns, is_named=named)
                if why is not None:
                    found.setdefault(capture.name, why)
        return found

    def remembered(self, state: PostgresPosition) -> PostgresPosition:
        """The state with what was seen."""
        tables: dict[str, dict[str, TableMemory]] = {}
        for capture in self._captures:
            known = state.tables.get(capture.name, {})
            found = tables[capture.name] = {}
            for name, columns in capture.reads().items():
                memory = self._tables[name].memory(columns)
                if name in known:
                    attached = newly_attached(known[name], self._tables[name], state.lsn, self._looked_at)
                    memory = replace(memory, attached=attached)
                found[name] = memory
        return replace(state, published=self._published, tables=tables)
