"""Reading records by key, in full: what the stream doesn't carry (unchanged TOAST values) or only names (list fields).

The state read may be newer than the change that asked for it; the change that made it newer is still to come in the
stream with a higher version, so targets never end on anything but the last state. For the same reason a record that
isn't there is nobody's delete: the stream itself says when it is deleted.

Keys are compared as the database does, each in the type of the column that it was read from: a list's parent column
need not have the type of the record's key, nor its spelling (char and varchar, 1 and 1.00, citext).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TypeVar

import psycopg
from psycopg import sql
from psycopg.errors import UndefinedColumn, UndefinedTable

from sorbus.connector import Change, RejectedRecord
from sorbus.errors import PermanentError, TransientError
from sorbus.postgres.catalog import Column, Table
from sorbus.postgres.connection import Connection, as_error, is_of_tables
from sorbus.postgres.exported_snapshot import join_snapshot
from sorbus.producers.postgres.capture import Capture, ChildTable, Key
from sorbus.producers.postgres.client_encoding import Encoding, statement_bytes
from sorbus.producers.postgres.layout import Oids, raw_json
from sorbus.producers.postgres.rewritten import is_rewritten
from sorbus.producers.record_keys import key_fault, record_id

_PATIENCE = 30.0
_AT_ONCE = 1000
_SNAPSHOT = sql.SQL(
    "select pg_current_snapshot()::text, case when not pg_is_in_recovery() then pg_current_wal_insert_lsn()::text end"
)
_Items = dict[str, list[bytes] | RejectedRecord]
T = TypeVar("T")
_Read = Callable[[Sequence[Key], str], list[T]]


class Fetched:
    """A record as it was read: make it a change with the version that is due."""

    __slots__ = ("_capture", "_error", "_items", "_row", "key")

    def __init__(
        self, capture: Capture, row: Sequence[bytes | None], items: _Items, error: PermanentError | None = None
    ) -> None:
        """`row` begins with the key, as the record's own row has it; with `error` there is no more of it."""
        self._capture, self._row, self._items, self._error = capture, row, items, error
        self.key: Key = tuple(row[: len(capture.key)])

    @property
    def id(self) -> bytes:
        return record_id(self.key)

    def change(self, version: int, occurred_at: int) -> Change | RejectedRecord:
        """The record as a change; a reject when it (or an item) can't be canonical, or can't be read."""
        capture, id = self._capture, self.id
        names = capture.columns()
        oids = oids_of(capture, names[: len(self._row)])
        if key_fault(self.key, capture.key):
            return capture.no_key(oids, self._row, version, occurred_at)
        if self._error is not None:
            return RejectedRecord(capture.name, id, version, occurred_at, raw_json(oids, self._row), self._error)
        items: dict[str, list[bytes]] = {}
        for name, found in self._items.items():
            if isinstance(found, RejectedRecord):
                return found._replace(id=id, version=version, occurred_at=occurred_at)
            items[name] = found
        layout = capture.layout("", oids)
        return capture.make(layout, oids, self._row, id, version, occurred_at, items if capture.is_aggregate else None)


class KeyReader:
    """Reads records by key in a session that sees all rows, in a snapshot of its own or an exported one."""

    def __init__(self, session: Connection, encoding: Encoding, capture: Capture, snapshot: str = "") -> None:
        self._session, self._encoding, self._capture, self._snapshot = session, encoding, capture, snapshot
        self.log_end: str | None = None
        """The end of the log (an LSN) when the last of it was read; what was read may lie before it."""

    def fetch(
        self, keys: Sequence[Key], part: str = "", after: Collection[int] = ()
    ) -> Iterator[tuple[Key, Fetched | None]]:
        """The full state of the record behind each of `keys`, in their order; None where there is none.

        `part` names the table that the keys were read from: the record's own (""), or a list field's. `after` names
        transactions (32-bit xids) whose changes must be visible: a commit reaches the stream a moment before other
        sessions see it.
        """
        for start in range(0, len(keys), _AT_ONCE):
            chunk = keys[start : start + _AT_ONCE]
            found = self._read_or_halve(chunk, part, after)
            yield from zip(chunk, found, strict=True)

    def _read_or_halve(self, keys: Sequence[Key], part: str, after: Collection[int]) -> list[Fetched | None]:
        """One row that the server can't compute or convert must not keep the others from being read."""
        try:
            return self._in_snapshot(self._read, keys, part, after)
        except PermanentError as error:
            if len(keys) == 1:
                return [self._unreadable(keys[0], part, after, error)]
        middle = len(keys) // 2
        return self._read_or_halve(keys[:middle], part, after) + self._read_or_halve(keys[middle:], part, after)

    def _unreadable(self, key: Key, part: str, after: Collection[int], error: PermanentError) -> Fetched | None:
        """A record that can't be read, by its own key where that can be told."""
        unreadable = PermanentError(
            f"the database can't give this row: {error.words or error}; fix what it computes of it (a generated"
            " column, a conversion)",
            reason="unreadable row",
            field=error.field,
            words=error.words,
        )
        try:
            self._in_snapshot(self._cast, [key], part, after)
        except PermanentError:  # no value of the key's type, so no row has it
            return None
        try:
            (own,) = self._in_snapshot(self._resolve, [key], part, after)
        except PermanentError:
            own = None if part else key
        return None if own is None else Fetched(self._capture, own, {}, unreadable)

    def _in_snapshot(self, read: _Read[T], keys: Sequence[Key], part: str, after: Collection[int]) -> list[T]:
        """What `read` gives. PermanentError when it is about one of the rows or keys."""
        deadline = time.monotonic() + _PATIENCE
        try:
            while True:
                try:
                    self._begin(after)
                    found = read(keys, part)
                    looked = None not in found and not self._capture.is_aggregate
                    if looked or not is_rewritten(self._session, self._capture):
                        return found
                finally:
                    if not self._session.closed:
                        self._session.rollback()
                if self._snapshot or time.monotonic() > deadline:
                    raise TransientError(f"the tables of {self._capture.name} were rewritten while they were read")
        except (UndefinedColumn, UndefinedTable) as error:
            raise TransientError(f"the tables of {self._capture.name} changed while they were read: {error}") from error
        except psycopg.Error as error:
            known = as_error(error, f"reading {self._capture.name} by key")
            if is_of_tables(error.sqlstate):  # no operator between a key and a list's parent column, say
                raise TransientError(f"{known}; fix `key:` and `children:` in the map") from error
            if error.sqlstate == "XX000" and "alloc" in str(error):  # a value of a gigabyte
                raise PermanentError(str(known), reason="unreadable row", words=str(error).strip()) from error
            raise known from error

    def _resolve(self, keys: Sequence[Key], part: str) -> list[Key | None]:
        """Each record's own key."""
        wanted, parameters = self._wanted(keys, part)
        query = sql.SQL("select w.n, {} from {} t join {} on {}").format(
            _listed("t", self._capture.key), self._capture.table.identifier, wanted, join_on(self._capture.key, "t")
        )
        rows = {int(row[0] or b"0"): tuple(row[1:]) for row in self._texts(query, parameters)}
        return [rows.get(place) for place in range(1, len(keys) + 1)]

    def _cast(self, keys: Sequence[Key], part: str) -> list[None]:
        """Fails for a key that can't be of its column's type."""
        wanted, parameters = self._wanted(keys, part)
        names = sql.SQL(", ").join(sql.Identifier("w", f"k{place}") for place in range(len(parameters)))
        return [None for _ in self._texts(sql.SQL("select {} from {}").format(names, wanted), parameters)]

    def _begin(self, after: Collection[int]) -> None:
        if self._snapshot:
            self._session.execute("set transaction isolation level repeatable read read only")
            join_snapshot(self._session, self._snapshot)
            return
        deadline = time.monotonic() + _PATIENCE
        while True:
            self._session.execute("set transaction isolation level repeatable read read only")
            ((snapshot, end),) = self._texts(_SNAPSHOT, ())
            self.log_end = None if end is None else end.decode()
            if not after or not is_running((snapshot or b"").decode(), after):
                return
            self._session.rollback()
            if time.monotonic() > deadline:
                raise TransientError(f"transaction {min(after)} was streamed but is still not visible to others")
            time.sleep(0.001)

    def _read(self, keys: Sequence[Key], part: str) -> list[Fetched | None]:
        capture = self._capture
        columns = capture.columns()
        wanted, parameters = self._wanted(keys, part)
        query = sql.SQL("select w.n, {} from {} t join {} on {}").format(
            _listed("t", columns), capture.table.identifier, wanted, join_on(capture.key, "t")
        )
        rows = {int(row[0] or b"0"): row[1:] for row in self._texts(query, parameters)}
        items: dict[int, _Items] = {place: {} for place in rows}
        for child in capture.children if rows else ():
            names = capture.child_columns(child)
            oids = child_oids(child, names)
            layout = capture.layout(child.field.name, oids)
            query = sql.SQL("select w.n, {} from {} t join {} on {} join {} c on {} order by w.n, {}").format(
                _listed("c", names),
                capture.table.identifier,
                wanted,
                join_on(capture.key, "t"),
                child.table.identifier,
                parent_join(capture, child),
                _listed("c", child.order),
            )
            for number, *values in self._texts(query, parameters):
                item = capture.make(layout, oids, values, b"", 0, 0)
                add_item(items[int(number or b"0")], child, item)
        found = [rows.get(place) for place in range(1, len(keys) + 1)]
        return [None if row is None else Fetched(capture, row, items[at]) for at, row in enumerate(found, 1)]

    def _wanted(self, keys: Sequence[Key], part: str) -> tuple[sql.Composed, list[_Raw]]:
        """`(select n, k0::type as k0 ...) as w`: the keys as a relation with their columns' own types."""
        columns = _key_columns(self._capture, part)
        names = [sql.Identifier(f"k{place}") for place in range(len(columns))]
        relation = sql.SQL("(select u.n, {} from unnest({}) with ordinality as u({}, n)) as w").format(
            sql.SQL(", ").join(
                sql.SQL("u.{}::{} as {}").format(name, sql.SQL(column.plain or column.unbounded), name)
                for name, column in zip(names, columns, strict=True)
            ),
            sql.SQL(", ").join(sql.SQL("%s::text[]") for _ in columns),
            sql.SQL(", ").join(names),
        )
        return relation, [self._array([key[place] for key in keys]) for place in range(len(columns))]

    def _array(self, texts: Sequence[bytes | None]) -> _Raw:
        return _Raw(b"{" + b",".join(b"NULL" if text is None else self._quoted(text) for text in texts) + b"}")

    def _quoted(self, text: bytes) -> bytes:
        try:
            raw = self._encoding.outgoing(text)
        except UnicodeError:  # letters that this database can't hold are in none of its keys
            return b"NULL"
        return b'"' + raw.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'

    def _texts(self, query: sql.SQL | sql.Composed, parameters: Sequence[_Raw]) -> Iterator[list[bytes | None]]:
        statement, incoming = statement_bytes(query, self._encoding), self._encoding.incoming
        with self._session.cursor() as cursor:
            cursor.execute(statement, parameters or None)
            result = cursor.pgresult
            assert result is not None
            width = result.nfields
            for place in range(result.ntuples):
                values = [result.get_value(place, column) for column in range(width)]
                yield [None if value is None else incoming(value) for value in values]


class _Raw(bytes):
    """A parameter that is sent as it is, its type left to the statement."""


class _RawDumper(psycopg.adapt.Dumper):
    oid = 0

    def dump(self, obj: bytes) -> bytes:
        return bytes(obj)


psycopg.adapters.register_dumper(_Raw, _RawDumper)


def _key_columns(capture: Capture, part: str) -> list[Column]:
    """The columns that keys of a part were read from."""
    for child in capture.children:
        if child.field.name == part:
            return [_column(child.table, name) for name in child.options.parent]
    return [_column(capture.table, name) for name in capture.key]


def _column(table: Table, name: str) -> Column:
    try:
        return table.columns[name]
    except KeyError:
        raise TransientError(f"{table.name} has no column {name} any more; fix the map") from None


def _listed(alias: str, names: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(alias, name) for name in names)


def oids_of(capture: Capture, names: Sequence[str]) -> Oids:
    """The record table's columns `names` with their types."""
    return {name: capture.table.columns[name].oid for name in names}


def child_oids(child: ChildTable, names: Sequence[str]) -> Oids:
    """A list field's columns `names` with their types."""
    return {name: child.table.columns[name].oid for name in names}


def is_running(snapshot: str, xids: Collection[int]) -> bool:
    """Whether a snapshot (xmin:xmax:xip_list, 64-bit) still counts one of the 32-bit `xids` as running."""
    _, high, active = snapshot.split(":")
    end = int(high) & 0xFFFFFFFF
    busy = {int(xid) & 0xFFFFFFFF for xid in active.split(",") if xid}
    return any(xid in busy or 0 <= ((xid - end) & 0xFFFFFFFF) < 1 << 31 for xid in xids)


def add_item(into: _Items, child: ChildTable, item: Change | RejectedRecord) -> None:
    """Adds an encoded item to its list; one that can't be canonical makes the whole record a reject."""
    name = child.field.name
    found = into.setdefault(name, [])
    if isinstance(item, RejectedRecord):
        if not isinstance(found, RejectedRecord):
            item.error.field = f"{name}[].{item.error.field}"
            into[name] = item
    elif isinstance(found, list):
        assert item.data is not None
        found.append(item.data)


def join_on(columns: Sequence[str], alias: str) -> sql.Composed:
    """`alias.column = w.k0 and ...`."""
    return sql.SQL(" and ").join(
        sql.SQL("{} = {}").format(sql.Identifier(alias, name), sql.Identifier("w", f"k{place}"))
        for place, name in enumerate(columns)
    )


def parent_join(capture: Capture, child: ChildTable) -> sql.Composed:
    """`c.parent = t.key and ...`: which items are a record's, as the database compares."""
    return sql.SQL(" and ").join(
        sql.SQL("{} = {}").format(sql.Identifier("c", own), sql.Identifier("t", key))
        for own, key in zip(child.options.parent, capture.key, strict=True)
    )
