"""Reading a table's records as they would be published, without a slot: one snapshot for all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import islice

from sorbus.connector import BoundSource, BoundSystem, Change, RejectedRecord
from sorbus.errors import PermanentError
from sorbus.postgres.connection import Connection, PostgresConnection, connect, postgres_errors
from sorbus.producers.postgres.capture import Capture, Key, open_captures
from sorbus.producers.postgres.rewritten import files_seen
from sorbus.producers.postgres.table_snapshot import TableSnapshot

_BATCH = 1000
_LOOK = 1.0


def scan_records(system: BoundSystem, source: BoundSource) -> Iterator[Sequence[Change | RejectedRecord]]:
    """See `sorbus.abilities.SupportsScan`. Holds a transaction open at the source until it ends."""
    connection = system.connection
    assert isinstance(connection, PostgresConnection)
    doing = f"reading {source.name} from {system.name}"
    with connect(connection, "scan", unhurried=True) as session:
        with postgres_errors(doing):
            session.execute("set transaction isolation level repeatable read read only")
            row = session.execute("select pg_export_snapshot()").fetchone()
            [capture] = open_captures(session, [source])
        assert row is not None
        with connect(connection, "scan", autocommit=True) as other:
            yield from _batches(_records(connection, str(row[0]), capture, other))


def _records(
    connection: PostgresConnection, snapshot: str, capture: Capture, other: Connection
) -> Iterator[Change | RejectedRecord]:
    """`other` is a session that sees what is there now."""
    last: Key | None = None
    for by_key in (False, True):
        with closing(TableSnapshot(connection, snapshot, capture, last, by_key=by_key)) as copy:
            try:
                while not copy.has_begun(_LOOK):
                    pass
                copy.check(files_seen(other, capture))
                for key, made in copy.records(0, 0):
                    last = key or last
                    yield made
            except PermanentError:  # the server can't compute some row: what is left is read by key
                if by_key:
                    raise
            else:
                return


def _batches(records: Iterator[Change | RejectedRecord]) -> Iterator[Sequence[Change | RejectedRecord]]:
    while some := list(islice(records, _BATCH)):
        yield some
