"""A statement that the server works at, in libpq's own calls (psycopg.pq): nobody has to wait for its answer.

Some answers take as long as other people's transactions, locks or sorts: until then the producer comes round, says what
it waits for, and can be stopped.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import psycopg
from psycopg import sql
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult

from sorbus.postgres.connection import Connection, is_readable

_AT_ONCE = 100_000
"""Bytes of lines that are given at once."""
_BAD = (ExecStatus.FATAL_ERROR, ExecStatus.BAD_RESPONSE)


class PendingQuery:
    """A statement under way. Every method may raise psycopg's errors."""

    def __init__(self, session: Connection, statement: sql.Composed | bytes) -> None:
        self._session, self._pg = session, session.pgconn
        self._answer: PGresult | None = None
        self._line: bytes | None = None
        self._pg.send_query(statement if isinstance(statement, bytes) else statement.as_bytes(session))

    def answer(self, wait: float) -> PGresult | None:
        """The server's answer; None when there is none within `wait` seconds."""
        end = time.monotonic() + wait
        while self._answer is None:
            self._pg.consume_input()
            if not self._pg.is_busy():
                self._answer = self._result()
                if self._answer.status != ExecStatus.COPY_OUT:
                    self._finish()
            elif not self._arrives(end - time.monotonic()):
                return None
        return self._answer

    def has_begun(self, wait: float) -> bool:
        """Of a `copy ... to stdout`: whether the first line has come (or the end) within `wait` seconds."""
        end = time.monotonic() + wait
        if self.answer(wait) is None:
            return False
        while self._line is None:
            self._line = self._read()
            if self._line is None and not self._arrives(end - time.monotonic()):
                return False
        return True

    def line(self) -> bytes | None:
        """The next line of a `copy ... to stdout` that has begun; b"" at its end, None while it hasn't arrived."""
        line, self._line = self._line, None
        if line is None:
            line = self._read()
        if line == b"":
            self._result()
            self._finish()
        return line

    def lines(self) -> Iterator[list[bytes]]:
        """The lines of a `copy ... to stdout`, once it has begun: those that have arrived, each with its line feed."""
        line: bytes | None = None
        while line != b"":
            lines, size = list[bytes](), 0
            while size < _AT_ONCE and (line := self.line()):
                lines.append(line)
                size += len(line)
            if lines:
                yield lines
            elif line is None:
                self._arrives(None)

    def cancel(self) -> None:
        """Asks the server to give up: it wouldn't notice by itself that nobody waits any more."""
        if self._answer is None and not self._session.closed:
            self._session.cancel_safe(timeout=2)

    def _read(self) -> bytes | None:
        """The next line, b"" at the end, None when none has arrived."""
        size, line = self._pg.get_copy_data(1)
        if size == 0:
            self._pg.consume_input()
            size, line = self._pg.get_copy_data(1)
        if size > 0:
            return bytes(line)
        return b"" if size < 0 else None

    def _arrives(self, seconds: float | None) -> bool:
        """Waits for more from the server; None: however long."""
        if seconds is not None and seconds <= 0:
            return False
        return is_readable(self._pg.socket, seconds)

    def _result(self) -> PGresult:
        """The next result; an error is raised when the connection can be asked again."""
        result = self._pg.get_result()
        if result is None:
            raise psycopg.OperationalError("the server has answered nothing")
        if result.status in _BAD:
            self._finish()
            raise error_from_result(result)
        return result

    def _finish(self) -> None:
        """Takes what is left of the answer: then the connection can be asked again."""
        while (result := self._pg.get_result()) is not None:
            if result.status in _BAD:
                raise error_from_result(result)
