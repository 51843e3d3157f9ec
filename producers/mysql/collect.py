"""From the log's events to changes: no I/O of its own, so that any sequence of events can be tried on it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from sorbus.connector import Change, RejectedRecord, StaleRecordDeletion
from sorbus.errors import LostPosition, PermanentError
from sorbus.mysql.declaration import TableName
from sorbus.producers.mysql.binary_values import UNREAD, UnknownColumn
from sorbus.producers.mysql.capture import ItemsTable, MysqlCapture
from sorbus.producers.mysql.dependents import Cascade, Writers, ends_of
from sorbus.producers.mysql.known_history import Half, require_known, require_rest
from sorbus.producers.mysql.log_events import (
    Committed,
    Format,
    LogEvent,
    LogGtid,
    LogRows,
    Prepared,
    Rotate,
    Statement,
    TableDescription,
    Unreadable,
)
from sorbus.producers.mysql.position import MysqlPosition
from sorbus.producers.mysql.record_reader import ReadRecord
from sorbus.producers.mysql.row_images import Image, NamelessRows, RowReader, ServerCharsets, of_now
from sorbus.producers.mysql.snapshot_point import Told
from sorbus.producers.mysql.statement_targets import Captured, StatementTargets, readers_of
from sorbus.producers.mysql.statements import Effect, effect_of
from sorbus.producers.mysql.table_keys import KeyTexts, dead_id, key_text

MAX_CHANGES, MAX_BYTES = 5000, 4_000_000
_KEPT_READERS = 1000
Fetch = Callable[[MysqlCapture, Sequence[KeyTexts]], Iterable[ReadRecord]]
"""Records by key, in a snapshot that has all that the log has told."""


class Collected(NamedTuple):
    """What has been collected. `resolved`: (data type, id) of rejects whose rows have gone."""

    changes: list[Change]
    rejects: list[RejectedRecord]
    sweeps: list[StaleRecordDeletion]
    resolved: list[tuple[str, bytes]]


class _Table(NamedTuple):
    """Who is concerned by a table's rows."""

    roots: list[MysqlCapture]
    items: list[tuple[MysqlCapture, ItemsTable]]
    cascades: list[tuple[Cascade, set[str]]]
    row_end: str | None

    @property
    def is_watched(self) -> bool:
        return bool(self.roots or self.items or self.cascades)


class LogCollector:
    """Collects the changes of the captured data types, from `state` on."""

    def __init__(
        self,
        captured: Captured,
        state: MysqlPosition,
        charsets: ServerCharsets,
        fetch: Fetch,
        read_writers: Callable[[], Writers],
    ) -> None:
        self.state = state
        self._captured, self._charsets, self._fetch = captured, charsets, fetch
        self._targets = StatementTargets(captured, read_writers)
        self._names = [capture.name for capture in captured.captures]
        self._concerned: dict[TableName, _Table] = {}
        self._described: dict[int, TableDescription] = {}
        self._readers: dict[bytes, RowReader] = {}
        self._changes: list[Change] = []
        self._rejects: list[RejectedRecord] = []
        self._sweeps: list[StaleRecordDeletion] = []
        self._resolved: list[tuple[str, bytes]] = []
        self._marked: dict[str, dict[KeyTexts, bool]] = {}
        self._resnapshot: dict[str, None] = {}
        self.altered: set[str] = set()
        """Data types whose tables may look otherwise than before: whoever knows the catalog takes them out."""
        self._bytes, self._version = 0, state.version
        self.file, self.end = state.file, state.end
        self._gtid, self._at = "", 0
        self._row_events = self._done = 0
        self._is_skipped = self._is_open = self._is_held = False
        self._is_behind = bool(state.last)  # until what follows that transaction comes
        self._half = Half(state.transaction, state.transaction_at, state.done)
        self._xa = ""
        self._touched: set[str] = set()
        self._fresh: frozenset[str] = frozenset()

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction has begun and not ended."""
        return bool(self._gtid)

    @property
    def told(self) -> Told:
        """What reading by key has to see."""
        if self._is_behind:
            return Told(self.state.last, self.state.file, self.state.end)
        return Told(self._gtid or self.state.last, self.file, self.end)

    @property
    def has_work(self) -> bool:
        """Whether there is anything to publish."""
        return bool(
            self._changes or self._rejects or self._sweeps or self._marked or self._resnapshot or self._resolved
        )

    @property
    def is_full(self) -> bool:
        """Whether it is time to publish, even in the middle of a transaction."""
        marked = sum(map(len, self._marked.values()))
        return len(self._changes) + len(self._rejects) + marked >= MAX_CHANGES or self._bytes >= MAX_BYTES

    def feed(self, event: LogEvent) -> bool:
        """Takes one event; False when what is collected must go out first: take, then feed it again.

        LostPosition: the log can't be read on from here. BadEvent.
        """
        body = event.body
        match body:
            case LogRows():
                self._rows(body, event.size)
            case TableDescription():
                self._described[body.number] = body
            case LogGtid():
                self._begin(body)
            case Statement():
                if not self._statement(body):
                    return False
            case Committed():
                self._commit()
            case Prepared():
                if not self._is_skipped:
                    prepared = {**self.state.prepared, self._xa: tuple(sorted(self._touched))}
                    self.state = replace(self.state, prepared=prepared)
                self._commit()
            case Rotate():
                self._cut()
                self._described.clear()
                self.file, self.end = body.file, body.position
            case Format():
                self._cut()
                self._described.clear()
            case Unreadable():
                if not self._is_skipped:
                    raise LostPosition(f"the log has {body.what}, which can't be read")
        if event.end:
            self._passed(event.end)
        return True

    def _passed(self, end: int) -> None:
        """The log counts places in 32 bits, and a file may be longer."""
        self.end += (end - self.end) % (1 << 32) if end < self.end & 0xFFFFFFFF else end - (self.end & 0xFFFFFFFF)

    def again(self, name: str, keys: Iterable[KeyTexts]) -> None:
        """These records are read again: `take` has their states, and deletes of those that are gone."""
        for key in keys:
            self._marked.setdefault(name, {})[key] = True

    def take(self) -> Collected:
        """What has been collected, in the log's order, and `state` moved past it. TransientError."""
        for name, keys in self._marked.items():
            self._read(next(capture for capture in self._captured.captures if capture.name == name), keys)
        taken = Collected(self._changes, self._rejects, self._sweeps, self._resolved)
        is_inside = self.in_transaction and not self._is_skipped and not self._is_held
        half = Half(self._gtid, self._at, max(self._row_events, self._done)) if is_inside else self._half
        told = self.told
        state = self.state.snapshotting(list(self._resnapshot)) if self._resnapshot else self.state
        self.state = replace(
            state,
            version=self._version,
            file=told.file,
            end=told.end,
            transaction=half.gtid,
            transaction_at=half.at,
            done=half.done,
        )
        self._changes, self._rejects, self._sweeps, self._resolved = [], [], [], []
        self._marked, self._resnapshot, self._bytes = {}, {}, 0
        return taken

    def _begin(self, begun: LogGtid) -> None:
        if self.in_transaction:  # it had no end in the log, as a group of one statement
            self._commit()
        state = self.state
        self._gtid, self._at = begun.gtid, begun.committed_at
        self._is_skipped = begun.gtid in state.gtids
        require_known(begun, state)
        self._row_events = self._done = 0
        if not self._is_skipped:
            self._is_behind = False
            require_rest(begun, self._half, is_mariadb=state.is_mariadb)
            if begun.gtid == self._half.gtid:
                self._done, self._half = self._half.done, Half()
        self._fresh = frozenset(name for name, seen in state.fresh.items() if begun.gtid in seen)
        self._is_open = self.state.is_mariadb and not begun.is_alone
        self._is_held, self._xa, self._touched = begun.is_prepared, "", set()

    def _cut(self) -> None:
        """A file that ends within a transaction: the server died as it wrote it, and undid it as it started."""
        if self.in_transaction and not self._is_skipped:
            self._must_snapshot(self._touched)
        self._gtid = ""
        self._commit()

    def _commit(self) -> None:
        if self._gtid and not self._is_skipped:
            self.state = self.state.committed(self._gtid, self._at)
        self._gtid, self._is_skipped, self._is_open, self._is_held = "", False, False, False

    def _next_version(self) -> int:
        self._version = max(self._version + 1, self._at)
        return self._version

    def _must_snapshot(self, names: Collection[str]) -> None:
        for name in names:
            if name not in self._fresh:
                self._resnapshot[name] = None

    def _table(self, name: TableName) -> _Table:
        found = self._concerned.get(name)
        if found is None:
            captures = self._captured.captures
            roots = [one for one in captures if (one.table.database, one.table.name) == name]
            items = [
                (one, child) for one in captures for child in one.children
                if (child.table.database, child.table.name) == name
            ]  # fmt: skip
            cascades = []
            for cascade in self._captured.dependents.cascades:
                if cascade.parent != name:
                    continue
                reached = {cascade.child, *ends_of(self._captured.dependents.cascades, cascade.child)}
                if hit := {one.name for table in reached for one in readers_of(captures, table)}:
                    cascades.append((cascade, hit))
            found = self._concerned[name] = _Table(roots, items, cascades, self._captured.dependents.row_ends.get(name))
        return found

    def _rows(self, rows: LogRows, size: int) -> None:
        self._row_events += 1
        if self._is_skipped:
            return
        described = self._described.get(rows.table)
        if described is None:
            raise LostPosition(f"the log has rows of a table (number {rows.table}) that it didn't describe")
        table = self._table((described.database, described.table))
        if not table.is_watched:
            return
        concerned = {one.name for one in table.roots} | {one.name for one, _ in table.items}
        concerned |= {name for _, names in table.cascades for name in names}
        self._touched |= concerned
        if self._is_held or self._row_events <= self._done or concerned <= self._fresh:
            return
        self._bytes += size
        for before, after in self._reader(described).images(rows):
            self._row(table, before, after)

    def _reader(self, described: TableDescription) -> RowReader:
        memo = f"{described.database}\0{described.table}\0".encode() + described.body
        found = self._readers.get(memo)
        if found is None:
            if len(self._readers) > _KEPT_READERS:
                self._readers.clear()
            name = f"{described.database}.{described.table}"
            try:
                found = RowReader(described, self._charsets, is_mariadb=self.state.is_mariadb)
            except NamelessRows:
                raise LostPosition(
                    f"the log has rows of {name} without the names of their columns: run `SET GLOBAL"
                    " binlog_row_metadata = FULL;`, and take a new snapshot"
                ) from None
            except (UnknownColumn, ValueError, IndexError, LookupError) as error:
                raise LostPosition(f"the log's description of {name} can't be read: {error}") from error
            self._readers[memo] = found
        return found

    def _row(self, table: _Table, before: Image | None, after: Image | None) -> None:
        whole = {**before, **after} if before is not None and after is not None else after
        if table.row_end is not None:
            before, whole = of_now(before, table.row_end), of_now(whole, table.row_end)
        for cascade, names in table.cascades:
            if cascade.is_set_off(before, whole):
                self._must_snapshot(names)
        for capture in table.roots:
            if capture.name not in self._fresh:
                self._root(capture, before, whole)
        for capture, child in table.items:
            if capture.name not in self._fresh:
                for row in (before, whole):
                    if row is not None:
                        self._item(capture, child, row)

    def _root(self, capture: MysqlCapture, before: Image | None, after: Image | None) -> None:
        if any(_is_absent(row, capture.key) for row in (before, after) if row is not None):
            return self._must_snapshot((capture.name,))  # whose row it was can't be told
        old = None if before is None else self._id(capture, before)
        new = None if after is None else self._id(capture, after)
        if before is not None and old is None:
            self._resolved.append((capture.name, dead_id(capture.table, capture.key, before)))
        if old is not None and old != new:
            self._changes.append(Change(capture.name, old, self._next_version(), self._at, None))
        if after is None:
            return None
        if new is not None and (capture.is_read_by_key or _is_absent(after, capture.shape.columns)):
            return self._mark(capture, tuple(key_text(after[name]) for name in capture.key))
        made = capture.made(after, {}, self._next_version(), self._at)
        if isinstance(made, Change):
            self._changes.append(made)
        else:
            self._rejects.append(made)
        return None

    def _id(self, capture: MysqlCapture, row: Image) -> bytes | None:
        try:
            return capture.id_of(row)
        except PermanentError:
            return None

    def _item(self, capture: MysqlCapture, child: ItemsTable, row: Image) -> None:
        if _is_absent(row, child.options.parent):
            self._must_snapshot((capture.name,))
        elif all(row[name] is not None for name in child.options.parent):
            self._mark(capture, tuple(key_text(row[name]) for name in child.options.parent))

    def _mark(self, capture: MysqlCapture, key: KeyTexts) -> None:
        self._marked.setdefault(capture.name, {}).setdefault(key, False)

    def _read(self, capture: MysqlCapture, keys: Mapping[KeyTexts, bool]) -> None:
        found: set[bytes] = set()
        for record in self._fetch(capture, list(keys)):
            made = capture.made(record.row, record.items, self._next_version(), self._at or self._version)
            found.add(made.id)
            if isinstance(made, Change):
                self._changes.append(made)
            else:
                self._rejects.append(made)
        for key, may_be_gone in keys.items():
            if may_be_gone and (id := capture.id_of_texts(key)) not in found:
                self._changes.append(Change(capture.name, id, self._next_version(), self._at or self._version, None))

    def _statement(self, statement: Statement) -> bool:
        """False when what is collected must go out first."""
        effect = effect_of(statement.text, statement.database)
        if self._is_skipped:
            return self._ended(effect, statement)
        if effect.kind == "truncate" and statement.is_of_session:
            effect = effect._replace(kind="ddl")
        if effect.kind == "truncate" and self.has_work:
            return False
        match effect.kind:
            case "rollback":  # some of what it wrote stays, as far as tables without transactions are among it
                self._must_snapshot(self._touched)
            case "xa":
                self._xa_statement(effect)
            case "program":
                self._targets.may_be_written_through_others()
            case "truncate":
                self._truncated(effect)
            case "ddl" | "dml":
                if effect.kind == "ddl":  # views may be renamed, triggers come with tables
                    self._targets.may_be_written_through_others()
                names = self._targets.data_types(statement, effect)
                self._must_snapshot(self._targets.with_other_rows(names, effect))
                if effect.kind == "ddl":
                    self.altered |= names
                    if "references" in statement.text.lower():  # whose rows cascades reach may be others now
                        self.altered |= set(self._names)
        return self._ended(effect, statement)

    def _ended(self, effect: Effect, statement: Statement) -> bool:
        if effect.kind == "begin" or statement.text.rstrip(" ;").lower().endswith("start transaction"):
            self._is_open = True
        elif effect.kind == "rollback" and " to " in statement.text.lower():  # a savepoint
            return True
        elif effect.kind in ("commit", "rollback") or not (self._is_open or self._is_held):
            self._commit()
        return True

    def _truncated(self, effect: Effect) -> None:
        assert effect.tables is not None
        [name] = effect.tables
        for capture in self._captured.captures:
            if capture.name in self._fresh:
                continue
            if (capture.table.database, capture.table.name) == name:
                self._sweeps.append(StaleRecordDeletion(capture.name, self._next_version(), self._at))
            elif any(_same((each.database, each.name), name) for each in capture.tables):  # or another's, by case
                self._must_snapshot((capture.name,))

    def _xa_statement(self, effect: Effect) -> None:
        assert effect.xa is not None
        what, name = effect.xa
        if what in ("start", "begin"):
            self._is_held, self._xa = True, name
        elif what in ("commit", "rollback"):
            prepared = self.state.prepared
            if what == "commit":
                self._must_snapshot(prepared.get(name, tuple(self._names)))
            self.state = replace(self.state, prepared={key: value for key, value in prepared.items() if key != name})


def _is_absent(row: Image, columns: Iterable[str]) -> bool:
    return any(row.get(name, UNREAD) is UNREAD for name in columns)


def _same(one: TableName, other: TableName) -> bool:
    return [part.lower() for part in one] == [part.lower() for part in other]
