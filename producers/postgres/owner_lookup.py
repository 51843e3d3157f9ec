"""One record of a source, read by its key now: what its owner says, whatever has been published."""

from __future__ import annotations

from sorbus.connector import BoundSource, BoundSystem, RejectedRecord
from sorbus.postgres.connection import PostgresConnection, postgres_errors
from sorbus.producers.postgres.capture import open_captures
from sorbus.producers.postgres.client_encoding import connect_reading
from sorbus.producers.postgres.fetch import KeyReader
from sorbus.producers.record_keys import record_key

_LIMITS = "set statement_timeout = '5s'; set lock_timeout = '2s'"


def read_record(system: BoundSystem, source: BoundSource, id: str) -> bytes | None:
    """See `SupportsOwnerLookup`. TransientError also where the answer takes longer than five seconds."""
    assert isinstance(system.connection, PostgresConnection)
    session, encoding = connect_reading(system.connection, "trace")
    with session, postgres_errors(f"reading {source.name} {id} in {system.name}"):
        session.execute(_LIMITS)
        session.commit()
        [capture] = open_captures(session, [source])
        session.commit()
        key = record_key(id.encode(errors="replace"), len(capture.key))
        if key is None:
            return None
        ((_, found),) = KeyReader(session, encoding, capture).fetch([key])
        if found is None:
            return None
        change = found.change(0, 0)
        if isinstance(change, RejectedRecord):
            raise change.error
        return change.data
