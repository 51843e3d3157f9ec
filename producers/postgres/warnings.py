"""What plan says of a source before it goes wrong: rows that no record can be made of, faults of the server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import psycopg
from psycopg import sql

from sorbus.connector import BoundSource, BoundSystem
from sorbus.postgres.connection import Connection, PostgresConnection, connect, postgres_errors
from sorbus.postgres.diagnose import decoding_fault
from sorbus.producers.postgres.capture import Capture, MissingTables, open_captures


def source_warnings(system: BoundSystem, sources: Sequence[BoundSource]) -> list[str]:
    """What plan warns of, each with its fix. TransientError, AuthError."""
    assert isinstance(system.connection, PostgresConnection)
    doing = f"planning {system.name}"
    with connect(system.connection, "plan", autocommit=True) as session, postgres_errors(doing):
        found = [*_of_version(session, system.name), *_of_encoding(session, system.name)]
        try:
            captures = open_captures(session, sources)
        except MissingTables:
            return found  # plan says it
        return [*found, *(words for capture in captures for words in _of_key(capture, system.name))]


def _of_version(session: Connection, system: str) -> list[str]:
    """Faults of the server's own, which lose changes."""
    fault = decoding_fault(session.info.server_version)
    return [] if fault is None else [f"{system}: {'; '.join(fault)}"]


def _of_encoding(session: Connection, system: str) -> list[str]:
    """Databases whose bytes may be no text."""
    encoding = session.info.parameter_status("server_encoding") or "UTF8"
    database = f"{system}: database {session.info.dbname} is in {encoding}"
    move = "load it into a database in UTF8 (pg_dump, then createdb -E UTF8), or correct such rows there"
    if encoding == "SQL_ASCII":
        return [
            f"{database}, which takes any bytes for text: rows with bytes that aren't UTF-8 become dead letters; {move}"
        ]
    try:
        session.execute(sql.SQL("set client_encoding = {}").format(sql.Literal(encoding)))
        _ = session.info.encoding  # its codec in Python
    except psycopg.NotSupportedError:
        return [f"{database}, which only the server can convert: a text that it can't convert stops the stream; {move}"]
    finally:
        session.pgconn.exec_(b"set client_encoding = 'UTF8'")
    return []


def _of_key(capture: Capture, system: str) -> Iterator[str]:
    """Key columns that may be NULL."""
    table = capture.table
    nullable = [name for name in capture.key if table.columns[name].nullable]
    if nullable:
        many = len(nullable) > 1
        columns = ", ".join(nullable)
        alter = ", ".join(f'alter column "{name}" set not null' for name in nullable)
        yield (
            f"{system}: key column{'s' * many} {columns} of {table.name} ({capture.name}) may be NULL: rows"
            f" without a value there become dead letters; let the tables' owner run: alter table {table.name} {alter};"
            " or name another key with `key:` in the map"
        )
