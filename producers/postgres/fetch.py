"""Reading records by key, in full: what the stream doesn't carry (unchanged TOAST values) or only names (list fields).

The state read may be newer than the change that asked for it; the change that made it newer is still to come in the
stream with a higher version, so targets never end on anything but the last state.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence

from psycopg import sql
from psycopg.errors import UndefinedColumn, UndefinedTable

from sorbus.connector import Change, Reject
from sorbus.errors import TransientError
from sorbus.postgres.connection import Connection, postgres_errors
from sorbus.producers.postgres.capture import Capture, ChildTable, Key
from sorbus.producers.postgres.layout import Oids, record_id

_PATIENCE = 30.0
_AT_ONCE = 1000


def fetch(
    connection: Connection, capture: Capture, keys: Sequence[Key], after: Collection[int]
) -> Iterator[tuple[Key, Fetched]]:
    """The full state of each record in `keys`, in their order; a record that is gone has no row.

    `after` names transactions (32-bit xids) whose changes must be visible: a commit reaches the stream a moment before
    other sessions see it.
    """
    for start in range(0, len(keys), _AT_ONCE):
        chunk = keys[start : start + _AT_ONCE]
        with postgres_errors(f"reading {capture.name} by key"):
            if not start:
                capture.refresh(connection)
                connection.rollback()
            _wait_until_visible(connection, after)
            try:
                rows, items = _read(connection, capture, chunk)
            except (UndefinedColumn, UndefinedTable) as error:
                raise TransientError(f"the tables of {capture.name} changed while they were read: {error}") from error
            connection.rollback()
        for key in chunk:
            yield key, Fetched(capture, rows.get(key), items.get(key, {}))


class Fetched:
    """A record as it was read: make it a change with the version that is due."""

    __slots__ = ("_capture", "_items", "_row")

    def __init__(
        self, capture: Capture, row: list[bytes | None] | None, items: dict[str, list[bytes] | Reject]
    ) -> None:
        self._capture, self._row, self._items = capture, row, items

    def change(self, key: Key, version: int, occurred_at: int) -> Change | Reject:
        """The record as a change; a deletion when it is gone, a reject when it (or an item) can't be canonical."""
        capture = self._capture
        id = record_id(key)
        if self._row is None:
            return Change(capture.name, id, version, occurred_at, None)
        oids = oids_of(capture, capture.columns())
        items: dict[str, list[bytes]] = {}
        for name, found in self._items.items():
            if isinstance(found, Reject):
                return found._replace(id=id, version=version, occurred_at=occurred_at)
            items[name] = found
        return capture.make(
            capture.layout("", oids), oids, self._row, id, version, occurred_at, items if capture.is_aggregate else None
        )


def oids_of(capture: Capture, names: Sequence[str]) -> Oids:
    """The record table's columns `names` with their types."""
    return {name: capture.table.columns[name].oid for name in names}


def child_oids(child: ChildTable, names: Sequence[str]) -> Oids:
    """A list field's columns `names` with their types."""
    return {name: child.table.columns[name].oid for name in names}


def _wait_until_visible(connection: Connection, xids: Collection[int]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        connection.execute("set transaction isolation level repeatable read read only")
        row = connection.execute("select pg_current_snapshot()::text").fetchone()
        assert row is not None
        if not xids or not _running(str(row[0]), xids):
            return
        connection.rollback()
        if time.monotonic() > deadline:
            raise TransientError(f"transaction {min(xids)} was streamed but is still not visible to other sessions")
        time.sleep(0.001)


def _running(snapshot: str, xids: Collection[int]) -> bool:
    """Whether a snapshot (xmin:xmax:xip_list, 64-bit) still counts one of the 32-bit `xids` as running."""
    _, high, active = snapshot.split(":")
    end = int(high) & 0xFFFFFFFF
    busy = {int(xid) & 0xFFFFFFFF for xid in active.split(",") if xid}
    return any(xid in busy or 0 <= ((xid - end) & 0xFFFFFFFF) < 1 << 31 for xid in xids)


def wanted_keys(capture: Capture, keys: Sequence[Key]) -> tuple[sql.Composed, list[list[str | None]]]:
    """`unnest(...) as w(k0, k1)`: the keys as a relation with the key's own types, and its parameters."""
    columns = [capture.table.columns[name] for name in capture.key]
    casts = [sql.SQL("%s::text[]::{}[]").format(sql.SQL(column.native)) for column in columns]
    names = sql.SQL(", ").join(sql.Identifier(f"k{place}") for place in range(len(columns)))
    relation = sql.SQL("unnest({}) as w({})").format(sql.SQL(", ").join(casts), names)
    texts = [[None if (part := key[place]) is None else part.decode() for key in keys] for place in range(len(columns))]
    return relation, texts


def _read(
    connection: Connection, capture: Capture, keys: Sequence[Key]
) -> tuple[dict[Key, list[bytes | None]], dict[Key, dict[str, list[bytes] | Reject]]]:
    wanted, parameters = wanted_keys(capture, keys)
    columns = capture.columns()
    on = join_on(capture.key, "t")
    query = sql.SQL("select {} from {} t join {} on {}").format(
        sql.SQL(", ").join(sql.Identifier("t", name) for name in columns), capture.table.identifier, wanted, on
    )
    size = len(capture.key)
    rows = {tuple(row[:size]): row for row in _texts(connection, query, parameters)}
    items: dict[Key, dict[str, list[bytes] | Reject]] = {}
    for child in capture.children:
        names = capture.child_columns(child)
        oids = child_oids(child, names)
        layout = capture.layout(child.field.name, oids)
        query = sql.SQL("select {}, {} from {} c join {} on {} order by {}").format(
            sql.SQL(", ").join(sql.Identifier("w", f"k{place}") for place in range(size)),
            sql.SQL(", ").join(sql.Identifier("c", name) for name in names),
            child.table.identifier,
            wanted,
            join_on(child.options.parent, "c"),
            sql.SQL(", ").join(sql.Identifier("c", name) for name in child.order),
        )
        for row in _texts(connection, query, parameters):
            key, values = tuple(row[:size]), row[size:]
            add_item(items.setdefault(key, {}), child, capture.make(layout, oids, values, b"", 0, 0))
    return rows, items


def add_item(into: dict[str, list[bytes] | Reject], child: ChildTable, item: Change | Reject) -> None:
    """Adds an encoded item to its list; one that can't be canonical makes the whole record a reject."""
    name = child.field.name
    found = into.setdefault(name, [])
    if isinstance(item, Reject):
        if not isinstance(found, Reject):
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


def _texts(connection: Connection, query: sql.Composed, parameters: Sequence[object]) -> Iterator[list[bytes | None]]:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        result = cursor.pgresult
        assert result is not None
        width = result.nfields
        for place in range(result.ntuples):
            yield [result.get_value(place, column) for column in range(width)]
