"""What was written of each record, its version and the key of its row; in Sorbus's state, for a sheet has no place."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple, cast

from sorbus.postgres.connection import Connection
from sorbus.state.database import State

_LOCK = "select pg_advisory_xact_lock(hashtextextended(%s, 0))"
_PATIENCE = "set local idle_in_transaction_session_timeout = '15min'; set local lock_timeout = '10min'"
_FIND = """
select id, version, key from spreadsheet_record
where system = %(system)s and sheet = %(sheet)s and data_type = %(data_type)s and id = any(%(ids)s)
"""
_HOLDERS = """
select key, data_type, id from spreadsheet_record
where system = %(system)s and sheet = %(sheet)s and key = any(%(keys)s)
"""
_PUT = """
insert into spreadsheet_record (system, sheet, data_type, id, version, key)
select %(system)s, %(sheet)s, %(data_type)s, * from unnest(%(ids)s::text[], %(versions)s::bigint[], %(keys)s::text[])
on conflict (system, sheet, data_type, id) do update set version = excluded.version, key = excluded.key
"""


class WrittenRecord(NamedTuple):
    """The last version that was written, and its row's key; None: it was deleted."""

    version: int
    key: str | None


class SheetVersions:
    """One flow's sheet. Every method raises TransientError, AuthError."""

    def __init__(self, state: State, system: str, sheet: str, data_type: str) -> None:
        self._state = state
        self._of = {"system": system, "sheet": sheet, "data_type": data_type}

    @contextmanager
    def session(self) -> Iterator[SheetSession]:
        """The sheet for this process alone; what is put is kept if the block ends without an exception."""
        with self._state.connection() as connection:
            connection.execute(_PATIENCE)
            file = self._of["sheet"].rpartition("/")[0]
            connection.execute(_LOCK, (f"{self._state.schema} spreadsheet {self._of['system']} {file}",))
            yield SheetSession(connection, self._of)

    def find(self, ids: Collection[str]) -> dict[str, WrittenRecord]:
        """What was written of these records."""
        with self._state.connection() as connection:
            return SheetSession(connection, self._of).find(ids)


class SheetSession:
    """A transaction of the state."""

    def __init__(self, connection: Connection, of: Mapping[str, str]) -> None:
        self._connection, self._of = connection, of

    def find(self, ids: Collection[str]) -> dict[str, WrittenRecord]:
        """What was written of these records."""
        rows = self._connection.execute(_FIND, {**self._of, "ids": list(ids)}).fetchall()
        return {
            cast("str", id): WrittenRecord(cast("int", version), cast("str | None", key)) for id, version, key in rows
        }

    def holders(self, keys: Collection[str]) -> dict[str, tuple[str, str]]:
        """Key -> (data type, id) of the record whose row has it."""
        rows = self._connection.execute(_HOLDERS, {**self._of, "keys": list(keys)}).fetchall()
        return {cast("str", key): (cast("str", data_type), cast("str", id)) for key, data_type, id in rows}

    def put(self, written: Mapping[str, WrittenRecord]) -> None:
        """These are written now."""
        values = {
            "ids": list(written),
            "versions": [one.version for one in written.values()],
            "keys": [one.key for one in written.values()],
        }
        self._connection.execute(_PUT, {**self._of, **values})
