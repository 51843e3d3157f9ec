"""The replication connection: frames in, status updates out, with libpq's own calls (psycopg.pq)."""

from __future__ import annotations

import time

import psycopg
from psycopg import sql
from psycopg.pq import DiagnosticField, ExecStatus
from psycopg.pq.abc import PGconn, PGresult

from sorbus.errors import LostPosition, TransientError
from sorbus.postgres.connection import Connection, is_readable
from sorbus.producers.postgres.pgoutput import lsn_text, status_update

_STATUS_EVERY = 10.0


class ReplicationStream:
    """Streams a slot's changes from `start` on."""

    def __init__(self, session: Connection, slot: str, publication: str, start: int) -> None:
        """Begins to stream. LostPosition when the server no longer has what we need; TransientError otherwise."""
        self._session = session
        self._pg: PGconn = session.pgconn
        self.flushed = 0
        self._has_ended = False
        self._told = time.monotonic()
        marks = ", messages 'true'" if session.info.server_version >= 140_000 else ""
        command = sql.SQL(
            f"START_REPLICATION SLOT {{}} LOGICAL {lsn_text(start)} (proto_version '1', publication_names {{}}{marks})"
        ).format(sql.Identifier(slot), sql.Literal(sql.Identifier(publication).as_string(session)))
        result = self._pg.exec_(command.as_bytes(session))
        if result.status != ExecStatus.COPY_BOTH:
            words = result.error_message.decode(errors="replace").strip()
            if _is_loss(result):
                raise LostPosition(f"slot {slot}: {words}")
            raise TransientError(f"slot {slot} can't be streamed from: {words}")

    def arrived(self) -> list[bytes]:
        """The frames that have arrived, as many as libpq holds. TransientError when the server has gone."""
        frames: list[bytes] = []
        take = self._pg.get_copy_data
        try:
            if not self._has_ended:
                size, frame = take(1)
                if size == 0:
                    self._pg.consume_input()
                    size, frame = take(1)
                while size > 0:
                    frames.append(bytes(frame))
                    size, frame = take(1)
                self._has_ended = size < 0
            if frames or not self._has_ended:
                return frames
            words = self._pg.get_result()
            why = words.error_message.decode(errors="replace").strip() if words else ""
            lost = words is not None and _is_loss(words)
        except psycopg.OperationalError as error:
            raise TransientError(f"the replication stream broke: {error}") from error
        if lost:
            raise LostPosition(f"the replication stream ended: {why}")
        if "publication" in why and "does not exist" in why:
            raise TransientError(f"{why}; run `sorbus apply` to make it")
        raise TransientError(f"the server ended the replication stream: {why or 'without saying why'}")

    def wait(self, seconds: float, *others: int) -> bool:
        """Waits until something arrives (or another socket can be read), `seconds` at most."""
        return is_readable(self._pg.socket, seconds, *others)

    def confirm(self, lsn: int) -> None:
        """Everything before `lsn` is safe: the server may forget it."""
        if lsn > self.flushed:
            self.flushed = lsn
            self._tell()

    def keep_alive(self, *, at_once: bool = False) -> None:
        """Tells the server that we are there, when it is time or it asks."""
        if at_once or time.monotonic() - self._told > _STATUS_EVERY:
            self._tell()

    def _tell(self) -> None:
        self._told = time.monotonic()
        try:
            self._pg.put_copy_data(status_update(self.flushed, time.time_ns() // 1000))
            self._pg.flush()
        except psycopg.OperationalError as error:
            raise TransientError(f"the replication stream broke: {error}") from error


def _is_loss(result: PGresult) -> bool:
    """Whether the server no longer has what we need: the slot was invalidated (55000), its log removed (58P01)."""
    return (result.error_field(DiagnosticField.SQLSTATE) or b"") in (b"55000", b"58P01")
