"""A database and a topic in a few lines of Python: what the collector's output is held against.

Table `orders` (id, name, big; `big` may be TOASTed) is the record table of `plain`, and with `lines` (order_id, no,
sku) of `order`. Each transaction is kept as the messages that pgoutput would send for it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace

from sorbus.avro.decode import read_record
from sorbus.connector import BoundSource, Change, RejectedRecord, StaleRecordDeletion
from sorbus.mapfile.model import DataType
from sorbus.postgres.catalog import Column, Table
from sorbus.producers.postgres.capture import Capture, ChildTable, Key
from sorbus.producers.postgres.collect import Collector
from sorbus.producers.postgres.fetch import Fetched, child_oids
from sorbus.producers.postgres.options import Child, PostgresSource
from sorbus.producers.postgres.position import PostgresPosition
from sorbus.schema import AvroType, parse_schema
from tests.producers.postgres import wire

ORDERS, LINES = 7001, 7002
_NULL_TEXT: AvroType = ["null", "string"]
_FIELDS: list[AvroType] = [
    {"name": "id", "type": "long"},
    {"name": "name", "type": _NULL_TEXT},
    {"name": "big", "type": _NULL_TEXT},
]
_LINE: AvroType = {
    "type": "record",
    "name": "line",
    "fields": [{"name": "no", "type": "long"}, {"name": "sku", "type": _NULL_TEXT}],
}
_LINES: AvroType = {"name": "lines", "type": {"type": "array", "items": _LINE}}


def _table(oid: int, name: str, columns: Sequence[tuple[str, int, int]]) -> Table:
    made = {
        column: Column(column, type, {23: "integer", 25: "text"}[type], "b", "S", 0, key, False, type, "text")
        for column, type, key in columns
    }
    return Table(oid, f"public.{name}", made)


ORDERS_TABLE = _table(ORDERS, "orders", [("id", 23, 1), ("name", 25, 0), ("big", 25, 0)])
LINES_TABLE = _table(LINES, "lines", [("order_id", 23, 1), ("no", 23, 2), ("sku", 25, 0)])


def captures() -> list[Capture]:
    """`plain` and `order`, both of table orders."""
    plain = parse_schema({"type": "record", "name": "plain", "fields": _FIELDS})
    order = parse_schema({"type": "record", "name": "order", "fields": [*_FIELDS, _LINES]})
    child = Child(table="lines", parent=["order_id"])
    owned = DataType(system_of_record="shop")
    return [
        Capture(BoundSource("plain", owned, plain, (), PostgresSource(table="orders")), ORDERS_TABLE, ()),
        Capture(
            BoundSource("order", owned, order, (), PostgresSource(table="orders", children={"lines": child})),
            ORDERS_TABLE,
            [ChildTable(order.by_name["lines"], child, LINES_TABLE)],
        ),
    ]


def _text(value: object) -> bytes | None:
    return None if value is None else str(value).encode()


@dataclass
class Database:
    """Rows by key, and every transaction so far: where its commit record is and ends, and its messages."""

    orders: dict[int, tuple[str | None, str | None]] = field(default_factory=dict)
    lines: dict[tuple[int, int], str | None] = field(default_factory=dict)
    log: list[tuple[int, int, list[bytes]]] = field(default_factory=list)
    lsn: int = 1000

    def transaction(self, messages: list[bytes]) -> None:
        """Commits what was done."""
        final, end = self.lsn + 10 * len(messages), self.lsn + 10 * len(messages) + 5
        whole = [wire.begin(final, 1_000_000 + self.lsn, len(self.log) + 1), *messages]
        self.log.append((final, end, [*whole, wire.commit(final, end, 1_000_000 + self.lsn)]))
        self.lsn = end + 3

    def put_order(self, id: int, name: str | None, big: str | None, *, moved_from: int | None = None) -> bytes | None:
        """Inserts or updates; with `moved_from` its key changes. None when that can't be done."""
        new = [_text(id), _text(name), _text(big)]
        if moved_from is not None:
            if moved_from not in self.orders or (id != moved_from and id in self.orders):
                return None
            kept = self.orders.pop(moved_from)[1]
            self.orders[id] = (name, kept)
            cells: list[wire.Cell] = [_text(id), _text(name), "u" if kept and len(kept) > 5 else _text(kept)]
            old = [_text(moved_from), None, None] if moved_from != id else None
            return wire.update(ORDERS, cells, old)
        known = id in self.orders
        self.orders[id] = (name, big)
        return wire.update(ORDERS, new) if known else wire.insert(ORDERS, new)

    def drop_order(self, id: int) -> bytes | None:
        if self.orders.pop(id, None) is None:
            return None
        return wire.delete(ORDERS, [_text(id), None, None])

    def put_line(self, key: tuple[int, int], sku: str | None) -> bytes:
        known = key in self.lines
        self.lines[key] = sku
        new = [_text(key[0]), _text(key[1]), _text(sku)]
        return wire.update(LINES, new) if known else wire.insert(LINES, new)

    def move_line(self, key: tuple[int, int], to: int) -> bytes | None:
        target = (to, key[1])
        if key not in self.lines or target in self.lines:
            return None
        sku = self.lines[target] = self.lines.pop(key)
        return wire.update(LINES, [_text(to), _text(key[1]), _text(sku)], [_text(key[0]), _text(key[1]), None])

    def drop_line(self, key: tuple[int, int]) -> bytes | None:
        if key not in self.lines:
            return None
        del self.lines[key]
        return wire.delete(LINES, [_text(key[0]), _text(key[1]), None])

    def truncate(self, *, orders: bool, lines: bool) -> bytes:
        if orders:
            self.orders.clear()
        if lines:
            self.lines.clear()
        return wire.truncate([*([ORDERS] if orders else []), *([LINES] if lines else [])])

    def records(self) -> dict[tuple[str, bytes], dict[str, object]]:
        """What the topics must end with."""
        found: dict[tuple[str, bytes], dict[str, object]] = {}
        for id, (name, big) in self.orders.items():
            record = {"id": id, "name": name, "big": big}
            lines = [{"no": no, "sku": sku} for (order, no), sku in sorted(self.lines.items()) if order == id]
            found["plain", str(id).encode()] = record
            found["order", str(id).encode()] = {**record, "lines": lines}
        return found

    def fetch(
        self, capture: Capture, keys: Sequence[Key], part: str, after: Collection[int]
    ) -> Iterator[tuple[Key, Fetched | None]]:
        """The newest state, as a read that comes after everything in the log."""
        for key in keys:
            assert key[0] is not None
            id = int(key[0])
            row = self.orders.get(id)
            items: dict[str, list[bytes] | RejectedRecord] = {}
            for child in capture.children:
                names = capture.child_columns(child)
                oids = child_oids(child, names)
                layout = capture.layout("lines", oids)
                made = []
                for (order, no), sku in sorted(self.lines.items()):
                    if order == id:
                        values = {"order_id": _text(order), "no": _text(no), "sku": _text(sku)}
                        item = capture.make(layout, oids, [values[name] for name in names], b"", 0, 0)
                        assert isinstance(item, Change)
                        assert item.data is not None
                        made.append(item.data)
                items["lines"] = made
            if row is None:
                yield key, None
                continue
            cells = {"id": _text(id), "name": _text(row[0]), "big": _text(row[1])}
            yield key, Fetched(capture, [cells[name] for name in capture.columns()], items)

    def stream(self, after: int) -> Iterator[bytes]:
        """What the server sends from `after` on: each table is described before its first row."""
        yield from (RELATIONS[ORDERS], RELATIONS[LINES])
        for _, end, messages in self.log:
            if end > after:
                yield from messages


RELATIONS = {
    ORDERS: wire.relation(ORDERS, "public", "orders", [("id", 23, True), ("name", 25, False), ("big", 25, False)]),
    LINES: wire.relation(LINES, "public", "lines", [("order_id", 23, True), ("no", 23, True), ("sku", 25, False)]),
}


@dataclass
class Topics:
    """The bus: the newest state of each record, and the producer's position, as they were committed together."""

    newest: dict[tuple[str, bytes], tuple[int, bytes | None]] = field(default_factory=dict)
    position: str = ""

    def commit(self, changes: Sequence[Change], sweeps: Sequence[StaleRecordDeletion], state: PostgresPosition) -> None:
        """Takes a batch as the produce loop does: sweeps first. Versions must grow."""
        for sweep in sweeps:
            for (data_type, id), (version, data) in list(self.newest.items()):
                if data_type == sweep.data_type and version < sweep.version and data is not None:
                    self._put(Change(data_type, id, sweep.version, sweep.occurred_at, None))
        for change in changes:
            self._put(change)
        self.position = json.dumps(state.to_position())

    def _put(self, change: Change) -> None:
        key = change.data_type, change.id
        was = self.newest.get(key)
        assert was is None or was[0] < change.version, f"{key}: version {change.version} after {was}"
        self.newest[key] = change.version, change.data

    def state(self) -> PostgresPosition:
        """Where a restarted producer goes on."""
        return PostgresPosition.from_position(json.loads(self.position))

    def records(self) -> dict[tuple[str, bytes], dict[str, object]]:
        """Every live record."""
        schemas = {capture.name: capture.source.schema for capture in captures()}
        return {
            key: read_record(schemas[key[0]], data)[0] for key, (_, data) in self.newest.items() if data is not None
        }


def recopied(database: Database, topics: Topics) -> PostgresPosition:
    """Copies again what the position asks for, as the producer does before it goes on with the stream."""
    state = topics.state()
    for capture in captures():
        if capture.name in state.resnapshot:
            version = state.version + 1
            keys: list[Key] = [(str(id).encode(),) for id in sorted(database.orders)]
            made = [found.change(version, 0) for _, found in database.fetch(capture, keys, "", ()) if found]
            state = replace(state, version=version, resnapshot=tuple(n for n in state.resnapshot if n != capture.name))
            copied = [change for change in made if isinstance(change, Change)]
            topics.commit(copied, (), state)
            topics.commit((), [StaleRecordDeletion(capture.name, version, 0)], state)
    return state


def collector(database: Database, topics: Topics) -> Collector:
    """A fresh one at the last committed position."""
    return Collector(captures(), recopied(database, topics), database.fetch)
