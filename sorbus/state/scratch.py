"""The state as a dry run sees it: its tables copied into the temporary ones of one session, where nothing lasts."""

from __future__ import annotations

from psycopg import sql

from sorbus.errors import TransientError
from sorbus.postgres.connection import Connection
from sorbus.state.database import State

_COPIED = ("crosswalk", "duplicate_candidates", "duplicate_apart", "duplicate_merged", "conflict")
_EMPTY = ("duplicate_decisions",)
_NUMBERED = ("duplicate_candidates", "conflict")


class ScratchState(State):
    """What it writes is seen by itself alone, and gone when it is closed. One connection: not for threads.

    It locks nothing that running flows need. It holds the records of one system.
    """

    _least, _most = 1, 1

    def __init__(self, state: State, system: str) -> None:
        """TransientError, AuthError when first used."""
        self._share(state)
        self._system, self._is_made = system, False

    def _prepare(self, connection: Connection) -> None:
        if self._is_made:  # an empty copy in place of a lost one would tell something else
            raise TransientError("the dry run's connection to Sorbus's database was lost; start it again")
        connection.execute("set statement_timeout = 0")
        schema = sql.Identifier(self.schema)
        for table in (*_COPIED, *_EMPTY):
            make = sql.SQL("create temporary table {1} (like {0}.{1} including all)")
            connection.execute(make.format(schema, sql.Identifier(table)))
        for table in _COPIED:
            copy = sql.SQL("insert into {1} overriding system value select * from {0}.{1} where system = %s")
            connection.execute(copy.format(schema, sql.Identifier(table)), (self._system,))
        for table in _NUMBERED:
            count = "select setval(pg_get_serial_sequence({}, 'number'), coalesce(max(number), 0) + 1) from {}"
            connection.execute(sql.SQL(count).format(sql.Literal(f"pg_temp.{table}"), sql.Identifier(table)))
        connection.execute("set statement_timeout = '30s'")
        connection.commit()
        self._is_made = True
