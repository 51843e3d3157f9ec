"""The initial snapshot: every record in key order from one snapshot, in constant memory, resumable after any record."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterable, Iterator, Sequence

import psycopg
from psycopg import sql

from sorbus.connector import Change, RejectedRecord
from sorbus.errors import TransientError
from sorbus.postgres.connection import PostgresConnection, postgres_errors
from sorbus.postgres.exported_snapshot import join_snapshot
from sorbus.producers.postgres.capture import Capture, ChildTable, Key, id_picker
from sorbus.producers.postgres.client_encoding import connect_reading, statement_bytes
from sorbus.producers.postgres.fetch import KeyReader, add_item, child_oids, oids_of, parent_join
from sorbus.producers.postgres.layout import TextRow
from sorbus.producers.postgres.pending_query import PendingQuery
from sorbus.producers.postgres.rewritten import Files, are_others, files_seen

_KEYS_AT_ONCE = 1000
_UNESCAPED = {98: b"\b", 102: b"\f", 110: b"\n", 114: b"\r", 116: b"\t", 118: b"\v"}


class TableSnapshot:
    """Every record whose key comes after `after`, in the key's order, as `snapshot` (exported) sees it.

    `by_key`: only keys are copied, and each record is read by its key, since the server can't compute all rows.
    """

    def __init__(
        self,
        connection: PostgresConnection,
        snapshot: str,
        capture: Capture,
        after: Key | None,
        *,
        by_key: bool = False,
    ) -> None:
        self._connection, self._snapshot, self._capture, self._by_key = connection, snapshot, capture, by_key
        self._columns = capture.columns()
        self._rows: _Rows | None = None
        self._children: list[_ChildRows] = []
        try:
            if by_key:
                query = _records_query(capture, capture.identity, after)
                self._rows = _Rows(connection, snapshot, f"{capture.name}'s keys", query, capture)
                return
            query = _records_query(capture, self._columns, after)
            self._rows = _Rows(connection, snapshot, capture.name, query, capture)
            for child in capture.children:
                self._children.append(_ChildRows(connection, snapshot, capture, child, after))
        except BaseException:
            self.close()
            raise

    def has_begun(self, wait: float) -> bool:
        """Whether the server has given the first rows within `wait` seconds: locks and sorts come before them."""
        end = time.monotonic() + wait
        assert self._rows is not None
        parts = [self._rows, *(child.rows for child in self._children)]
        return all(part.has_begun(max(0.0, end - time.monotonic())) for part in parts)

    def check(self, now: Files) -> None:
        """Once it has begun. TransientError where a table was rewritten after the snapshot: it may look empty to it."""
        assert self._rows is not None
        if are_others(self._rows.files, now):
            raise TransientError(f"the tables of {self._capture.name} were rewritten before they were read")

    def parts(self, version: int, occurred_at: int) -> Iterator[tuple[Key | None, Sequence[Change | RejectedRecord]]]:
        """`records`, some at a time, with the last one's key (None: all of them name no record)."""
        assert self._rows is not None
        encoder = self._capture.native_copy(self._columns)
        if encoder is None or self._by_key or self._children or not self._rows.is_utf8:
            yield from ((key, (made,)) for key, made in self.records(version, occurred_at))
            return
        for lines in self._rows.lines():
            at = 0
            while at < len(lines):
                changes: list[Change] = []
                at = encoder.take_lines(lines, at, changes, version, occurred_at)
                if changes:
                    yield (changes[-1].id,), changes
                if at < len(lines):
                    for key, made in self._made([split_line(lines[at])], version, occurred_at):
                        yield key, (made,)
                    at += 1

    def records(self, version: int, occurred_at: int) -> Iterator[tuple[Key | None, Change | RejectedRecord]]:
        """The records, each with its key (None: one that names no record), once it has begun.

        PermanentError: the server can't compute some row.
        """
        assert self._rows is not None
        if self._by_key:
            yield from self._one_by_one(self._rows, version, occurred_at)
            return
        yield from self._made(self._rows, version, occurred_at)

    def _made(
        self, rows: Iterable[TextRow], version: int, occurred_at: int
    ) -> Iterator[tuple[Key | None, Change | RejectedRecord]]:
        capture, size = self._capture, len(self._capture.key)
        oids = oids_of(capture, self._columns)
        layout, id_of = capture.layout("", oids), id_picker(range(size))
        for row in rows:
            key, id = tuple(row[:size]), id_of(row)
            if id is None:
                for child in self._children:
                    child.take(key)
                yield None, capture.no_key(oids, row, version, occurred_at)
                continue
            if not self._children:
                yield key, capture.make(layout, oids, row, id, version, occurred_at)
                continue
            items: dict[str, list[bytes]] = {}
            bad_item: RejectedRecord | None = None
            for child in self._children:
                found = child.take(key)
                if isinstance(found, RejectedRecord):
                    bad_item = found
                else:
                    items[child.name] = found
            if bad_item is not None:
                yield key, bad_item._replace(id=id, version=version, occurred_at=occurred_at)
            else:
                yield key, capture.make(layout, oids, row, id, version, occurred_at, items)

    def _one_by_one(
        self, rows: _Rows, version: int, occurred_at: int
    ) -> Iterator[tuple[Key | None, Change | RejectedRecord]]:
        capture, size = self._capture, len(self._capture.key)
        oids, id_of = oids_of(capture, capture.identity), id_picker(range(size))
        session, encoding = connect_reading(self._connection, f"copy {capture.name}")
        with session:
            reader, left = KeyReader(session, encoding, capture, self._snapshot), iter(rows)
            while some := list(itertools.islice(left, _KEYS_AT_ONCE)):
                for row in some:
                    if id_of(row) is None:
                        yield None, capture.no_key(oids, row, version, occurred_at)
                for key, found in reader.fetch([tuple(row[:size]) for row in some if id_of(row) is not None]):
                    if found is not None:
                        yield key, found.change(version, occurred_at)

    def close(self) -> None:
        """Leaves the snapshot, finished or not."""
        for rows in (self._rows, *(child.rows for child in self._children)):
            if rows is not None:
                rows.close()


class _Rows:
    """A query's rows, as COPY's text format has them, in a session of their own at the snapshot."""

    def __init__(
        self, connection: PostgresConnection, snapshot: str, what: str, query: sql.Composed, capture: Capture
    ) -> None:
        self._doing = f"copying {what}"
        self._session, self._encoding = connect_reading(connection, f"copy {what}")
        try:
            with postgres_errors(self._doing):
                self._session.execute("set transaction isolation level repeatable read read only")
                join_snapshot(self._session, snapshot)
                self.files = files_seen(self._session, capture)
                copy = sql.SQL("copy ({}) to stdout").format(query)
                self._asked = PendingQuery(self._session, statement_bytes(copy, self._encoding))
        except BaseException:
            self._session.close()
            raise

    def has_begun(self, wait: float) -> bool:
        with postgres_errors(self._doing):
            return self._asked.has_begun(wait)

    def __iter__(self) -> Iterator[TextRow]:
        incoming = self._encoding.incoming
        for lines in self.lines():
            for line in lines:
                yield split_line(incoming(line))

    def lines(self) -> Iterator[list[bytes]]:
        """The same as the server writes them, some at a time."""
        with postgres_errors(self._doing):
            yield from self._asked.lines()

    @property
    def is_utf8(self) -> bool:
        """Whether text comes as it is kept."""
        return self._encoding.codec is None

    def close(self) -> None:
        with contextlib.suppress(psycopg.Error):  # the connection is closed all the same
            self._asked.cancel()
        self._session.close()


class _ChildRows:
    """Walks a list field's table beside the record's, in the same key order and snapshot."""

    def __init__(
        self, connection: PostgresConnection, snapshot: str, capture: Capture, child: ChildTable, after: Key | None
    ) -> None:
        self.name = child.field.name
        self._capture, self._child = capture, child
        self._size = len(capture.key)
        names = capture.child_columns(child)
        self._oids = child_oids(child, names)
        self._layout = capture.layout(self.name, self._oids)
        query = _items_query(capture, child, names, after)
        self.rows = _Rows(connection, snapshot, f"{capture.name} {self.name}", query, capture)
        self._left = iter(self.rows)
        self._next: TextRow | None = ()

    def take(self, key: Key) -> list[bytes] | RejectedRecord:
        """The encoded items of the record `key`."""
        found: dict[str, list[bytes] | RejectedRecord] = {}
        if self._next == ():  # nothing read yet
            self._next = next(self._left, None)
        while self._next is not None and tuple(self._next[: self._size]) == key:
            values = self._next[self._size :]
            item = self._capture.make(self._layout, self._oids, values, b"", 0, 0)
            add_item(found, self._child, item)
            self._next = next(self._left, None)
        return found.get(self.name, [])


def split_line(line: bytes) -> list[bytes | None]:
    """A row of COPY's text format (PostgreSQL documentation, COPY, "Text Format")."""
    values = line[:-1].split(b"\t")
    if b"\\" not in line:
        return list(values)
    return [None if value == b"\\N" else _unescape(value) if b"\\" in value else value for value in values]


def _unescape(value: bytes) -> bytes:
    head, *rest = value.split(b"\\")
    out, escaped_backslash = [head], False
    for part in rest:
        if escaped_backslash:
            out.append(part)
            escaped_backslash = False
        elif not part:
            out.append(b"\\")
            escaped_backslash = True
        else:
            out.append(_UNESCAPED.get(part[0], part[:1]) + part[1:])
    return b"".join(out)


def _after(capture: Capture, alias: str, after: Key | None) -> sql.Composable:
    """The rows behind a key; and those with a null in their own, since nothing can be said to come before it."""
    if after is None:
        return sql.SQL("true")
    names = sql.SQL(", ").join(sql.Identifier(alias, name) for name in capture.key)
    values = sql.SQL(", ").join(
        sql.SQL("{}::{}").format(
            sql.Literal(None if part is None else part.decode()), sql.SQL(capture.table.columns[name].native)
        )
        for name, part in zip(capture.key, after, strict=True)
    )
    behind: sql.Composable = sql.SQL("({}) > ({})").format(names, values)
    for name in capture.key:
        if capture.table.columns[name].nullable:
            behind = sql.SQL("{} or {} is null").format(behind, sql.Identifier(alias, name))
    return behind


def _key_order(capture: Capture, alias: str) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(alias, name) for name in capture.key)


def _records_query(capture: Capture, columns: Sequence[str], after: Key | None) -> sql.Composed:
    return sql.SQL("select {} from {} t where {} order by {}").format(
        sql.SQL(", ").join(sql.Identifier("t", name) for name in columns),
        capture.table.identifier,
        _after(capture, "t", after),
        _key_order(capture, "t"),
    )


def _items_query(capture: Capture, child: ChildTable, names: Sequence[str], after: Key | None) -> sql.Composed:
    return sql.SQL("select {}, {} from {} t join {} c on {} where {} order by {}, {}").format(
        _key_order(capture, "t"),
        sql.SQL(", ").join(sql.Identifier("c", name) for name in names),
        capture.table.identifier,
        child.table.identifier,
        parent_join(capture, child),
        _after(capture, "t", after),
        _key_order(capture, "t"),
        sql.SQL(", ").join(sql.Identifier("c", name) for name in child.order),
    )
