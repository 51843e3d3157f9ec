"""Rows given as arrays are the rows that COPY brings: every type of the server's catalog, by the server's own text."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from sorbus.consumers.postgres.cells import HEADER
from sorbus.consumers.postgres.staging import Staging
from sorbus.ops.embedded import Addresses
from tests.postgres.type_values import VALUES

TYPES = """
select typname from pg_type where typtype in ('b', 'r', 'm') and typnamespace = 'pg_catalog'::regnamespace
    and typreceive <> 0 and typsend <> 0 and typarray <> 0 and typcategory <> 'A' order by typname
"""


@pytest.fixture
def session(stack: Addresses) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    with psycopg.connect(stack.database, autocommit=True) as connection:
        yield connection


def test_arrays_bring_what_copy_brings(session: psycopg.Connection[tuple[object, ...]]) -> None:
    staging, tried, given = Staging(session), 0, 0
    for (name,) in session.execute(TYPES).fetchall():
        native = sql.SQL('pg_catalog."{}"').format(sql.SQL(str(name)))
        for table in ("one", "other"):
            make = sql.SQL("drop table if exists {0}; create temporary table {0} (id text, n bigint, v {1})")
            session.execute(make.format(sql.Identifier(table), native))
        rows = [*sent(session, native, VALUES.get(str(name), [])), row(b"none", b"\xff\xff\xff\xff")]
        insert = staging.insert("other")
        assert insert is not None, name
        try:
            staging.copy("one", rows)
        except psycopg.Error:
            continue  # a type that no program can send (such as "char" of several bytes)
        staging.execute(insert, rows)
        texts = [
            session.execute(f"select id, n, v::text from {table} order by id".encode()).fetchall()
            for table in ("one", "other")
        ]
        assert texts[0] == texts[1], name
        tried, given = tried + 1, given + len(rows)
    assert tried > 50
    assert given > 2 * tried


def sent(session: psycopg.Connection[tuple[object, ...]], native: sql.Composed, texts: list[str]) -> list[bytes]:
    """The values as rows of COPY's binary format, as the server sends them; those that it can't read are left out."""
    found = []
    for text in texts:
        value = sql.SQL("copy (select {}::{}) to stdout (format binary)").format(sql.Literal(text), native)
        try:
            with session.cursor() as cursor, cursor.copy(value) as copy:
                body = b"".join(map(bytes, copy))
        except psycopg.Error:
            continue
        found.append(row(b"id%d" % len(found), body[len(HEADER) + 2 : -2]))
    return found


def row(id: bytes, cell: bytes) -> bytes:
    return struct.pack(">hi", 3, len(id)) + id + struct.pack(">iq", 8, len(id)) + cell


def test_what_cant_be_an_element_goes_by_copy(session: psycopg.Connection[tuple[object, ...]]) -> None:
    for native in ("int[]", "varchar(3)", "numeric(4,2)", "int2vector", "character", "bit"):
        session.execute(f"drop table if exists one; create temporary table one (id text, v {native})".encode())
        assert Staging(session).insert("one") is None, native
