"""What was written of each record, its version and key, in Sorbus's state: for targets without a place for versions."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple, cast

from sorbus.connector import Delivery
from sorbus.postgres.connection import Connection
from sorbus.state.database import State

_LOCK = "select pg_advisory_xact_lock(hashtextextended(%s, 0))"
_PATIENCE = "set local idle_in_transaction_session_timeout = '15min'; set local lock_timeout = '10min'"
_FIND = """
select id, version, key from written_record
where system = %(system)s and place = %(place)s and data_type = %(data_type)s and id = any(%(ids)s)
"""
_HOLDERS = """
select key, data_type, id from written_record
where system = %(system)s and place = %(place)s and key = any(%(keys)s)
"""
_PUT = """
insert into written_record (system, place, data_type, id, version, key)
select %(system)s, %(place)s, %(data_type)s, * from unnest(%(ids)s::text[], %(versions)s::bigint[], %(keys)s::text[])
on conflict (system, place, data_type, id) do update set version = excluded.version, key = excluded.key
"""


_IDENTITY = """
select key from written_record where system = %(system)s and place = %(place)s and data_type = '' and id = ''
"""
_KEEP_IDENTITY = """
insert into written_record (system, place, data_type, id, version, key)
values (%(system)s, %(place)s, '', '', 0, %(identity)s)
on conflict (system, place, data_type, id) do update set key = excluded.key where written_record.key = %(before)s
"""
_ANY = "select exists (select from written_record where system = %(system)s and place = %(place)s and key is not null)"
_MARK = "mark"
_FORGET = "delete from written_record where system = %(system)s and place = %(place)s"


class WrittenRecord(NamedTuple):
    """The last version that was written, and the key the record is found by there; None: it was deleted."""

    version: int
    key: str | None

    def is_ahead_of(self, delivery: Delivery, *, again: bool) -> bool:
        """Whether the delivery changes nothing; `again`: an equal version is written once more."""
        return delivery.version < self.version or (delivery.version == self.version and not again)


class WrittenVersions:
    """One data type at one place of a system (a sheet, a topic). Every method raises TransientError, AuthError."""

    def __init__(self, state: State, system: str, place: str, data_type: str, *, locked: str = "") -> None:
        """`locked`: what one process at a time writes to; default: the place."""
        self._state, self._locked = state, locked or place
        self._mark = {"system": system, "place": self._locked, "data_type": ""}
        self._of = {"system": system, "place": place, "data_type": data_type}

    @contextmanager
    def session(self) -> Iterator[WrittenSession]:
        """The place for this process alone; what is put is kept if the block ends without an exception."""
        with self._state.connection() as connection:
            connection.execute(_PATIENCE)
            connection.execute(_LOCK, (f"{self._state.schema} written {self._of['system']} {self._locked}",))
            yield WrittenSession(connection, self._of, self._mark)

    def find(self, ids: Collection[str]) -> dict[str, WrittenRecord]:
        """What was written of these records."""
        with self._state.connection() as connection:
            return WrittenSession(connection, self._of, self._mark).find(ids)

    def holders(self, keys: Collection[str]) -> dict[str, tuple[str, str]]:
        """See `WrittenSession.holders`; without the lock."""
        with self._state.connection() as connection:
            return WrittenSession(connection, self._of, self._mark).holders(keys)

    def of(self, deliveries: Sequence[Delivery]) -> dict[bytes, int]:
        """Id -> the version that was written."""
        known = self.find([one.id.decode(errors="replace") for one in deliveries])
        return {
            one.id: found.version
            for one in deliveries
            if (found := known.get(one.id.decode(errors="replace"))) is not None
        }

    def newer(self, deliveries: Sequence[Delivery]) -> dict[bytes, int]:
        """Id -> the version that was written, where it is newer than the delivery's."""
        known = self.of(deliveries)
        return {one.id: known[one.id] for one in deliveries if known.get(one.id, one.version) > one.version}

    def identity(self) -> str | None:
        """What the place was when it was first written to, as `keep_identity` was told; None before."""
        with self._state.connection() as connection:
            row = connection.execute(_IDENTITY, self._of).fetchone()
        return None if row is None else str(row[0])

    def keep_identity(self, identity: str, *, before: str | None = None) -> None:
        """What the place is, such as a topic's id: one that was made again under the same name has another.

        One that is kept already stays, unless it is `before`.
        """
        with self._state.connection() as connection:
            connection.execute(_KEEP_IDENTITY, {**self._of, "identity": identity, "before": before})

    def is_empty(self) -> bool:
        """Whether nothing is there that was written."""
        with self._state.connection() as connection:
            row = connection.execute(_ANY, self._of).fetchone()
        return row is None or not row[0]

    def forget(self) -> None:
        """The place is another one: nothing was written to it."""
        with self._state.connection() as connection:
            connection.execute(_FORGET, self._of)


class WrittenSession:
    """A transaction of the state."""

    def __init__(self, connection: Connection, of: Mapping[str, str], mark: Mapping[str, str]) -> None:
        self._connection, self._of, self._mark = connection, of, mark

    def find(self, ids: Collection[str]) -> dict[str, WrittenRecord]:
        """What was written of these records."""
        rows = self._connection.execute(_FIND, {**self._of, "ids": list(ids)}).fetchall()
        return {
            cast("str", id): WrittenRecord(cast("int", version), cast("str | None", key)) for id, version, key in rows
        }

    def holders(self, keys: Collection[str]) -> dict[str, tuple[str, str]]:
        """Key -> (data type, id) of the record that has it."""
        rows = self._connection.execute(_HOLDERS, {**self._of, "keys": list(keys)}).fetchall()
        return {cast("str", key): (cast("str", data_type), cast("str", id)) for key, data_type, id in rows}

    def mark(self) -> str | None:
        """What `put_mark` was told last of what is locked, by whichever process and data type."""
        found = WrittenSession(self._connection, self._mark, self._mark).find([_MARK]).get(_MARK)
        return found.key if found is not None else None

    def put_mark(self, mark: str) -> None:
        """How the locked place, such as a file, looks since it was written to."""
        WrittenSession(self._connection, self._mark, self._mark).put({_MARK: WrittenRecord(0, mark)})

    def put(self, written: Mapping[str, WrittenRecord]) -> None:
        """These are written now."""
        values = {
            "ids": list(written),
            "versions": [one.version for one in written.values()],
            "keys": [one.key for one in written.values()],
        }
        self._connection.execute(_PUT, {**self._of, **values})
