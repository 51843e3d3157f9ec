"""Parent columns of lists' tables that may take one record's items for another's, which its key tells apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from psycopg import sql

from sorbus.consumers.postgres.key_kind import KeyKind, key_cut
from sorbus.postgres.catalog import Table
from sorbus.postgres.connection import Connection


class ListParents:
    """Of one flow, in one session. `kinds`: of the key column ("") and of each list's parent column."""

    def __init__(self, session: Connection, tables: Mapping[str, Table], kinds: Mapping[str, KeyKind]) -> None:
        self._session = session
        self._doubtful = [
            (tables[part].name, kind) for part, kind in kinds.items() if part and not kind.covers(kinds[""])
        ]

    def may_change(self, ids: Sequence[bytes]) -> bool:
        """Whether one of these ids may be kept as another one."""
        return any(not kind.tells_apart(ids) for _, kind in self._doubtful)

    def check(self, ids: Sequence[str]) -> None:
        """KeyCut for the first that would be kept as another one; psycopg.Error."""
        for table, kind in self._doubtful:
            made = sql.SQL("i::{}::text").format(sql.SQL(kind.column.native))
            query = sql.SQL(
                "select n, i, {0} from unnest(%s::text[]) with ordinality u (i, n) where {0} <> i order by n limit 1"
            )
            found = self._session.execute(query.format(made), (list(ids),)).fetchone()
            if found is not None:
                raise key_cut(int(str(found[0])) - 1, table, kind, str(found[1]), str(found[2]))
