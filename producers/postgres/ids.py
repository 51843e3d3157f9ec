"""The ids of a table's records without the records: what `sorbus plan` compares with a topic."""

from __future__ import annotations

from collections.abc import Iterator

from psycopg import sql

from sorbus.connector import BoundSource, BoundSystem
from sorbus.postgres.connection import PostgresConnection, postgres_errors
from sorbus.producers.postgres.capture import id_picker, open_captures
from sorbus.producers.postgres.client_encoding import connect_reading, statement_bytes


def record_ids(system: BoundSystem, source: BoundSource) -> Iterator[bytes]:
    """Every record's id, from its key alone. MapError, TransientError, AuthError."""
    assert isinstance(system.connection, PostgresConnection)
    session, encoding = connect_reading(system.connection, "plan")
    doing = f"counting the records of {source.name} in {system.name}"
    with session, postgres_errors(doing):
        [capture] = open_captures(session, [source])
        columns = sql.SQL(", ").join(map(sql.Identifier, capture.key))
        query = sql.SQL("copy (select {} from {}) to stdout").format(columns, capture.table.identifier)
        id_of = id_picker(range(len(capture.key)))
        with session.cursor().copy(statement_bytes(query, encoding)) as copy:
            for row in copy.rows():
                if (id := id_of([part.encode() if isinstance(part, str) else part for part in row])) is not None:
                    yield id
