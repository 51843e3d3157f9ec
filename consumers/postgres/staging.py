"""Giving PostgreSQL rows: by COPY into a session's temporary tables, or as arrays within a statement.

A row comes packed for COPY's binary format; its cells are, as they are, the elements of binary arrays (PostgreSQL's
`array_recv`), so that one statement takes many rows as one array a column. A COPY takes two round trips to the server,
such a statement none of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import NamedTuple, cast

import psycopg
from psycopg import sql
from psycopg.adapt import Buffer, Dumper
from psycopg.pq import Format

from sorbus import native
from sorbus.consumers.postgres.cells import HEADER, NULL, TRAILER
from sorbus.native import codec
from sorbus.postgres.connection import Connection

Cursor = psycopg.Cursor[tuple[object, ...]]
_length = Struct(">i").unpack_from
_array_head = Struct(">iiIii").pack
# Types by their own names: `character` and `bit` would be those of one character and one bit.
_COLUMNS = """
select format('%%I.%%I', n.nspname, t.typname), a.atttypid,
        t.typarray <> 0 and t.typcategory <> 'A' and a.atttypmod = -1
    from pg_attribute a join pg_type t on t.oid = a.atttypid join pg_namespace n on n.oid = t.typnamespace
    where a.attrelid = quote_ident(%s)::regclass and a.attnum > 0 and not a.attisdropped order by a.attnum
"""


class _Array(NamedTuple):
    """A parameter that is laid out already."""

    layout: bytes


class _ArrayDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: _Array) -> Buffer:
        return obj.layout


class Given(NamedTuple):
    """A statement that is given rows: an array for each column, of elements of these types."""

    statement: bytes
    oids: Sequence[int]


class Staging:
    """What one session's rows are given to."""

    def __init__(self, session: Connection) -> None:
        self._session = session
        session.adapters.register_dumper(_Array, _ArrayDumper)

    def copy(self, table: str, rows: Sequence[bytes]) -> None:
        """By COPY. psycopg.Error, whose context says in which row."""
        statement = sql.SQL("copy {} from stdin (format binary)").format(sql.Identifier(table))
        with self._session.cursor() as cursor, cursor.copy(statement) as copy:
            copy.write(b"".join((HEADER, *rows, TRAILER)))

    def execute(self, given: Given, rows: Sequence[bytes]) -> Cursor:
        """With these rows. psycopg.Error."""
        found = None if native.absence else codec.arrays(list(rows), tuple(given.oids))
        arrays = take_apart(rows, given.oids) if found is None else found
        return psycopg.RawCursor(self._session).execute(given.statement, [*map(_Array, arrays)], prepare=True)

    def arrays(self, table: str) -> tuple[sql.SQL, list[int]] | None:
        """A table's columns as arrays ($1, $2 ...) that `unnest` takes, and their elements' types.

        None where a value can't be an element as it is: it is an array itself, or its type has a length. psycopg.Error.
        """
        found = self._session.execute(_COLUMNS, (table,)).fetchall()
        if not all(fits for _, _, fits in found):
            return None
        arrays = ", ".join(f"${n}::{native}[]" for n, (native, _, _) in enumerate(found, 1))
        return sql.SQL(arrays), [int(str(oid)) for _, oid, _ in found]

    def insert(self, table: str) -> Given | None:
        """The INSERT into a table; None as for `arrays`."""
        found = self.arrays(table)
        if found is None:
            return None
        statement = sql.SQL("insert into {} select * from unnest({})").format(sql.Identifier(table), found[0])
        return Given(statement.as_bytes(self._session), found[1])


def counts_of(done: Cursor) -> tuple[int, int | None]:
    """Rows that a statement wrote, and how many of them are new, where it says so."""
    if done.description is None:
        return done.rowcount, None
    row = done.fetchone()
    assert row is not None
    return cast("int", row[0]), cast("int", row[1])


def take_apart(rows: Sequence[bytes], oids: Sequence[int]) -> list[bytes]:
    """Packed rows as one binary array a column, of elements of these types."""
    columns: list[list[bytes]] = [[] for _ in oids]
    for row in rows:
        at = 2
        for column in columns:
            end = at + 4 + max(0, _length(row, at)[0])
            column.append(row[at:end])
            at = end
    return [
        b"".join((_array_head(1, int(NULL in cells), oid, len(cells), 1), *cells))
        for oid, cells in zip(oids, columns, strict=True)
    ]
