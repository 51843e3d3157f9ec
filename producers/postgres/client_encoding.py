"""Sessions that read rows: they see every row or are refused, and get text in the database's own encoding.

The server would convert text to UTF-8 and end the stream, the copy or the read at the first row that it can't convert:
in a database in SQL_ASCII any byte may be anything, WIN1252 has bytes without a meaning. So text comes as it is stored,
is converted here, and what is not text is one record's matter.
"""

from __future__ import annotations

from typing import NamedTuple

import psycopg
from psycopg import sql

from sorbus.postgres.connection import Connection, PostgresConnection, connect, postgres_errors


class Encoding(NamedTuple):
    """How a session's text is written. `codec` None: UTF-8, or (in SQL_ASCII) whatever programs have written.

    What isn't text becomes bytes that aren't UTF-8 either, so that whoever decodes them refuses them.
    """

    codec: str | None = None

    def incoming(self, text: bytes) -> bytes:
        """Text of the server in UTF-8."""
        if self.codec is None or text.isascii():
            return text
        return text.decode(self.codec, "surrogateescape").encode("utf-8", "surrogatepass")

    def outgoing(self, text: bytes) -> bytes:
        """`incoming` undone. ValueError for what this encoding has no letters for."""
        if self.codec is None or text.isascii():
            return text
        return text.decode("utf-8", "surrogatepass").encode(self.codec, "surrogateescape")


UTF8 = Encoding()


def read_natively(session: Connection) -> Encoding:
    """Lets a session read rows as they are stored, all of them or none: where policies of row security would hide some,
    the server refuses (42501). The session's transaction, if it isn't in autocommit, is still to be ended.
    """
    native = session.info.parameter_status("server_encoding") or "UTF8"
    _set(session, "row_security", "off")
    _set(session, "client_encoding", native)
    try:
        codec = session.info.encoding
    except psycopg.NotSupportedError:  # no codec in Python (EUC_TW, MULE_INTERNAL): the server converts, as it can
        session.pgconn.exec_(b"set client_encoding = 'UTF8'")
        return UTF8
    return UTF8 if codec in ("utf-8", "ascii") else Encoding(codec)


def _set(session: Connection, name: str, value: str) -> None:
    session.execute(sql.SQL("set {} = {}").format(sql.Identifier(name), sql.Literal(value)))


def connect_reading(connection: PostgresConnection, application: str) -> tuple[Connection, Encoding]:
    """A session to read rows in, for as long as it takes. TransientError, AuthError."""
    session = connect(connection, application, unhurried=True)
    try:
        with postgres_errors(f"connecting for {application}"):
            encoding = read_natively(session)
            session.commit()
    except BaseException:
        session.close()
        raise
    return session, encoding


def statement_bytes(statement: sql.Composed | sql.SQL, encoding: Encoding) -> bytes:
    """A statement as a session with this encoding sends it."""
    return encoding.outgoing(statement.as_bytes(None))
