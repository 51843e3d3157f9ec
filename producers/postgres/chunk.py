"""A chunk of a data type's records, in the order of their key, read while the stream is: rows are taken as they arrive.

The server works at `copy (select ... where key > last order by key limit n)` in a snapshot of the chunk's own; libpq
holds what has arrived, and the server waits when nobody takes it. Memory is constant, except that a record with list
fields waits for the chunk's items.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

import psycopg
from psycopg import sql

from sorbus.connector import Change, RejectedRecord
from sorbus.errors import TransientError
from sorbus.postgres.connection import Connection, is_of_tables, postgres_errors
from sorbus.producers.postgres.capture import Capture, Key, id_picker
from sorbus.producers.postgres.client_encoding import Encoding, statement_bytes
from sorbus.producers.postgres.fetch import add_item, child_oids, is_running, oids_of
from sorbus.producers.postgres.key_order import first_rows, items_between
from sorbus.producers.postgres.layout import TextRow
from sorbus.producers.postgres.pending_query import PendingQuery
from sorbus.producers.postgres.rewritten import Files, are_others, files_seen
from sorbus.producers.postgres.table_snapshot import split_line

_Items = dict[str, list[bytes] | RejectedRecord]
_LOOK_AT_CLOCK = 32
"""Rows between two looks at the clock."""


class TablesChangedError(Exception):
    """A table isn't what it was when the chunk's statements were made: read it again."""


class Row(NamedTuple):
    """A record's row and its list fields' items."""

    values: TextRow
    items: _Items


class Chunk:
    """At most `limit` records behind the key `after`; all with the last one's key where the key isn't unique."""

    def __init__(
        self,
        session: Connection,
        encoding: Encoding,
        capture: Capture,
        after: Key | None,
        limit: int,
        refresh: Callable[[Capture], None],
        files: Callable[[Capture], Files],
    ) -> None:
        """`session` is for this chunk alone until it is over. `refresh` looks at the catalog again, `files` at where
        the rows are.
        """
        self.capture, self.limit = capture, limit
        self.after, self.count, self.is_over = after, 0, False
        self.session, self._refresh, self._files = (session, encoding), refresh, files
        self._looks = _look_of(capture)
        self._columns = capture.columns()
        self._oids = oids_of(capture, self._columns)
        self._layout = capture.layout("", self._oids)
        self._id_of = id_picker(range(len(capture.key)))
        self._asked: PendingQuery | None = None
        self._rows = self._read()
        self.began_at = time.monotonic()
        self.first_after: float | None = None
        """Seconds until the first row (or the end) came; None: none has, since a lock or a sort comes before it."""

    @classmethod
    def begin(cls, session: Connection, xids: Collection[int]) -> bool:
        """Begins the chunk's transaction; False, and no transaction, while its snapshot lacks one of `xids`."""
        session.execute("set transaction isolation level repeatable read read only")
        found = session.execute("select pg_current_snapshot()::text").pgresult
        assert found is not None
        snapshot = found.get_value(0, 0) or b""  # by its bytes: text of a database in SQL_ASCII is no str
        if xids and is_running(snapshot.decode(), xids):
            session.rollback()
            return False
        return True

    @property
    def socket(self) -> int:
        """Where rows arrive."""
        return self.session[0].pgconn.socket

    def take(
        self,
        until: float,
        most: int,
        is_newer: Collection[bytes],
        next_version: Callable[[], int],
    ) -> list[Change | RejectedRecord] | None:
        """The records that have arrived, until a moment (monotonic seconds) or about `most` bytes; None: nothing has.

        Left out are those that are newer on the bus already. TransientError, AuthError, TablesChangedError;
        PermanentError where the server can't compute or convert some row.
        """
        found: list[Change | RejectedRecord] = []
        capture, layout, oids, make = self.capture, self._layout, self._oids, self.capture.make
        count, size, now = self.count, 0, time.time_ns() // 1000
        width = len(capture.key)
        with _errors(capture):
            for row in self._rows:
                if row is None:
                    break
                values, items = row
                self.count += 1
                self.after = tuple(values[:width])
                id = self._id_of(values)
                if id is None:
                    found.append(capture.no_key(oids, values, next_version(), now))
                elif id not in is_newer:
                    if capture.is_aggregate:
                        made = self._with_items(values, items, id, next_version(), now)
                    else:
                        made = make(layout, oids, values, id, next_version(), now)
                    size += len(made.data or b"") if type(made) is Change else 0
                    found.append(made)
                if size > most or (self.count % _LOOK_AT_CLOCK == 0 and time.monotonic() > until):
                    break
            else:
                self.is_over = True
                self.session[0].rollback()
        return None if self.count == count and not self.is_over else found

    def close(self) -> None:
        """Gives up what wasn't taken, and the session with it."""
        with contextlib.suppress(psycopg.Error):  # the connection is closed all the same
            if self._asked is not None:
                self._asked.cancel()
        self.session[0].close()

    def _with_items(
        self, values: TextRow, items: _Items, id: bytes, version: int, occurred_at: int
    ) -> Change | RejectedRecord:
        whole: dict[str, list[bytes]] = {}
        for name, found in items.items():
            if isinstance(found, RejectedRecord):
                return found._replace(id=id, version=version, occurred_at=occurred_at)
            whole[name] = found
        return self.capture.make(self._layout, self._oids, values, id, version, occurred_at, whole)

    def _read(self) -> Iterator[Row | None]:
        """Each row; None while the server hasn't sent the next one."""
        capture, width = self.capture, len(self.capture.key)
        after, rows = self.after, list[TextRow]()
        self._seen = files_seen(self.session[0], capture)
        for line in self._lines(first_rows(capture, self._columns, after, self.limit)):
            if line is None:
                yield None
            elif capture.children:
                rows.append(line)
            else:
                yield Row(line, {})
        if not rows:
            return
        items: dict[Key, _Items] = {tuple(row[:width]): {} for row in rows}
        last = tuple(rows[-1][:width])
        for child in capture.children:
            names = capture.child_columns(child)
            oids = child_oids(child, names)
            layout = capture.layout(child.field.name, oids)
            for line in self._lines(items_between(capture, child, names, after, last)):
                if line is None:
                    yield None
                    continue
                add_item(items[tuple(line[:width])], child, capture.make(layout, oids, line[width:], b"", 0, 0))
        for row in rows:
            yield Row(row, items[tuple(row[:width])])

    def _lines(self, query: sql.Composed) -> Iterator[TextRow | None]:
        copy = sql.SQL("copy ({}) to stdout").format(query)
        session, encoding = self.session
        asked = self._asked = PendingQuery(session, statement_bytes(copy, encoding))
        while not asked.has_begun(0.0):
            yield None
        # From here on the transaction's lock keeps the table as it is.
        if self.first_after is None:
            self.first_after = time.monotonic() - self.began_at
        self._refresh(self.capture)
        if _look_of(self.capture) != self._looks or are_others(self._seen, self._files(self.capture)):
            raise TablesChangedError
        while (line := asked.line()) != b"":
            yield None if line is None else split_line(encoding.incoming(line))
        self._asked = None


@contextlib.contextmanager
def _errors(capture: Capture) -> Iterator[None]:
    with postgres_errors(f"reading {capture.name}"):
        try:
            yield
        except psycopg.Error as error:
            if not is_of_tables(error.sqlstate):
                raise
            words = f"the tables of {capture.name} changed, or don't fit `key:` and `children:` in the map: {error}"
            raise TransientError(words) from error


def _look_of(capture: Capture) -> object:
    """What a chunk's statements and its rows' meaning depend on."""
    return capture.table, capture.key_now, tuple(child.table for child in capture.children)
