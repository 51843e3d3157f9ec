"""Incremental snapshots: a data type's records read by key, a chunk at a time, beside the stream.

A chunk is read once every transaction that the stream has told of is visible, and its records get the stream's next
versions. So a record is never older than what the stream said of it before, and whatever happens to it later comes with
a higher version: no watermarks are needed, since each event holds the record's full state. A record that is deleted
before its chunk is read isn't published; one whose key moves is published by the stream under its new key.

The stream comes first: a chunk is read when the stream has nothing, at the latest after a second, and its size is such
that reading it takes about 15 ms. Nothing is held in between: no lock, no snapshot, no transaction.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import NamedTuple

from psycopg import sql

from sorbus.postgres.connection import Connection as Session
from sorbus.postgres.connection import postgres_errors
from sorbus.producers.postgres.capture import Capture, Key
from sorbus.producers.postgres.client_encoding import Encoding, statement_bytes
from sorbus.producers.postgres.collect import MAX_BYTES
from sorbus.producers.postgres.layout import TextRow
from sorbus.producers.postgres.position import PostgresPosition, SnapshotProgress

_FIRST, _FEWEST, _MOST = 200, 20, 10_000
_AIM = 0.015
"""Seconds that a chunk is to take."""
_STARVED = 1.0
_PATIENCE = 60.0
"""Seconds after which people are told that open transactions are waited for."""


class Chunk(NamedTuple):
    """The next records' keys, and how far the snapshot is after them; `unkeyed`: rows whose key names no record."""

    capture: Capture
    keys: Sequence[Key]
    unkeyed: Sequence[TextRow]
    progress: SnapshotProgress
    is_last: bool


class IncrementalSnapshot:
    """What is due of one source, a data type after the other."""

    def __init__(
        self,
        reading: Callable[[], AbstractContextManager[tuple[Session, Encoding]]],
        captures: Sequence[Capture],
        expected: Callable[[Capture], int],
        open_xids: Callable[[], tuple[int, int]],
    ) -> None:
        """`reading` gives a session that reads rows, and `expected` about how many records a data type has.

        `open_xids`: the oldest transaction that is still open, and the next one to begin.
        """
        self._open_xids = open_xids
        self._awaited: dict[str, tuple[int, float]] = {}
        self._ready: set[str] = set()
        self._reading, self._captures, self._expected = reading, captures, expected
        self._size = _FIRST
        self._read_at = time.monotonic()

    def due(self, state: PostgresPosition) -> str | None:
        """The data type that is being read, or is to be read next."""
        if state.copying is not None:
            return state.copying.data_type
        names = (each.name for each in self._captures)
        return next((name for name in names if name not in state.copied or name in state.resnapshot), None)

    def is_time(self, state: PostgresPosition, *, is_idle: bool) -> bool:
        """Whether to read a chunk now. `is_idle`: the stream has nothing."""
        is_paused = state.copying is not None and state.copying.is_paused
        if is_paused or not (is_idle or time.monotonic() - self._read_at > _STARVED):
            return False
        due = self.due(state)
        return due is not None and (due in self._ready or self._may_begin(due))

    @property
    def problem(self) -> str | None:
        """Why nothing is read, if that has lasted for a while."""
        for data_type, (_, since) in self._awaited.items():
            if time.monotonic() - since > _PATIENCE:
                return (
                    f"the snapshot of {data_type} waits for transactions to end that were open when it was to begin"
                    " (see pg_stat_activity); changes of other data types are published meanwhile"
                )
        return None

    def _may_begin(self, data_type: str) -> bool:
        """Whether all transactions that were open when this was first asked have ended.

        What one wrote to a table before the publication held it isn't streamed: only a later snapshot shows it. And a
        transaction that was streamed before a restart may not be visible yet.
        """
        oldest, following = self._open_xids()
        awaited, _ = self._awaited.setdefault(data_type, (following, time.monotonic()))
        if oldest < awaited:
            return False
        del self._awaited[data_type]
        self._ready.add(data_type)
        return True

    def next(self, progress: SnapshotProgress) -> Chunk:
        """The next chunk. TransientError, AuthError."""
        capture = next(each for each in self._captures if each.name == progress.data_type)
        with self._reading() as (session, encoding), postgres_errors(f"reading {capture.name}'s keys"):
            session.execute("set transaction read only")

            def ask(query: sql.Composed) -> list[TextRow]:
                found = session.execute(statement_bytes(query, encoding)).pgresult
                assert found is not None
                columns = range(found.nfields)
                return [[_text(found.get_value(row, at), encoding) for at in columns] for row in range(found.ntuples)]

            keys = [tuple(row) for row in ask(_keys_query(capture, progress.after, self._size))]
            is_last = len(keys) < self._size
            nullable = [name for name in capture.key if capture.table.columns[name].nullable]
            is_end = is_last and not (progress.sweep and keys)
            unkeyed = ask(_unkeyed_query(capture, nullable)) if is_end and nullable else []
        after = progress.after if not keys else tuple(None if part is None else part.decode() for part in keys[-1])
        moved = replace(progress, after=after, records=progress.records + len(keys) + len(unkeyed))
        return Chunk(capture, keys, unkeyed, moved, is_last)

    def is_ready(self, data_type: str) -> bool:
        """Whether `is_time` has found that its snapshot may begin."""
        return data_type in self._ready

    def took(self, chunk: Chunk, seconds: float, size: int) -> None:
        """How long a chunk took, and its records' bytes: the next one's size follows."""
        self._read_at = time.monotonic()
        if chunk.is_last:
            self._ready.discard(chunk.capture.name)
        if seconds > 2 * _AIM or size > MAX_BYTES:
            self._size = max(_FEWEST, self._size // 2)
        elif seconds < _AIM:
            self._size = min(_MOST, self._size * 5 // 4)

    def told(self, chunk: Chunk) -> tuple[str, int, int]:
        """Data type, records so far, records expected."""
        records = chunk.progress.records
        return chunk.capture.name, records, records if chunk.is_last else max(records, self._expected(chunk.capture))


def _text(value: bytes | None, encoding: Encoding) -> bytes | None:
    return None if value is None else encoding.incoming(value)


def _keys_query(capture: Capture, after: tuple[str | None, ...] | None, limit: int) -> sql.Composed:
    """The next keys, in their order; rows with a null in their key are no records."""
    names = sql.SQL(", ").join(sql.Identifier("t", name) for name in capture.key)
    conditions: list[sql.Composable] = [
        sql.SQL("{} is not null").format(sql.Identifier("t", name))
        for name in capture.key
        if capture.table.columns[name].nullable
    ]
    if after is not None:
        values = sql.SQL(", ").join(
            sql.SQL("{}::{}").format(sql.Literal(part), sql.SQL(capture.table.columns[name].native))
            for name, part in zip(capture.key, after, strict=True)
        )
        conditions.append(sql.SQL("({}) > ({})").format(names, values))
    where = sql.SQL(" and ").join(conditions) if conditions else sql.SQL("true")
    return sql.SQL("select {} from {} t where {} order by {} limit {}").format(
        names, capture.table.identifier, where, names, sql.Literal(limit)
    )


def _unkeyed_query(capture: Capture, nullable: Sequence[str]) -> sql.Composed:
    columns = sql.SQL(", ").join(sql.Identifier("t", name) for name in capture.columns())
    missing = sql.SQL(" or ").join(sql.SQL("{} is null").format(sql.Identifier("t", name)) for name in nullable)
    return sql.SQL("select {} from {} t where {}").format(columns, capture.table.identifier, missing)
