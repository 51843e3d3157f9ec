"""Reading records without the log: all of a data type in one snapshot, or one by its key."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sorbus.connector import BoundSource, BoundSystem, Change, RejectedRecord
from sorbus.errors import PermanentError
from sorbus.mysql.connection import Session, session_for
from sorbus.mysql.discovery import connection_of
from sorbus.producers.mysql.capture import open_captures
from sorbus.producers.mysql.record_reader import RecordReader
from sorbus.producers.record_keys import record_key

_PAGE = 1000


def scan_records(system: BoundSystem, source: BoundSource) -> Iterator[Sequence[Change | RejectedRecord]]:
    """See `sorbus.abilities.SupportsScan`. Holds a transaction open at the source until it ends."""
    with session_for(connection_of(system), "scan", f"reading {source.name} from {system.name}") as session:
        [capture] = open_captures(session, system, [source])
        _begin(session)
        reader, after = RecordReader(session, capture), None
        while page := reader.page(after, _PAGE):
            yield [capture.made(record.row, record.items, 0, 0) for record in page]
            after = page[-1].place


def record_ids(system: BoundSystem, source: BoundSource) -> Iterator[bytes]:
    """The id of every record whose key names one. MapError, TransientError, AuthError."""
    with session_for(connection_of(system), "plan", f"counting {source.name} in {system.name}") as session:
        [capture] = open_captures(session, system, [source])
        _begin(session)
        reader, after = RecordReader(session, capture), None
        while page := reader.page(after, _PAGE):
            for record in page:
                try:
                    yield capture.id_of(record.row)
                except PermanentError:
                    continue
            after = page[-1].place


def read_record(system: BoundSystem, source: BoundSource, id: str) -> bytes | None:
    """See `sorbus.discovery.SupportsOwnerLookup`. PermanentError: it can't be made canonical."""
    with session_for(connection_of(system), "trace", f"reading {source.name} {id} in {system.name}") as session:
        [capture] = open_captures(session, system, [source])
        key = record_key(id.encode(errors="replace"), len(capture.key))
        if key is None:
            return None
        texts = tuple((part or b"").decode() for part in key)
        for record in RecordReader(session, capture).by_key([texts]):
            made = capture.made(record.row, record.items, 0, 0)
            if isinstance(made, RejectedRecord):
                raise made.error
            if made.id == id.encode():
                return made.data
    return None


def _begin(session: Session) -> None:
    session.execute("set transaction isolation level repeatable read")
    session.execute("start transaction with consistent snapshot")
