"""From replication messages to changes: no I/O of its own, so that any sequence of messages can be tried on it."""

from __future__ import annotations

import functools
import sys
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from struct import error as struct_error
from typing import NamedTuple, cast

from sorbus import native
from sorbus.bus.names import Names
from sorbus.connector import Change, RejectedRecord, StaleRecordDeletion
from sorbus.native import codec
from sorbus.postgres.delivery_note import read_note
from sorbus.producers.postgres.capture import Capture, Key
from sorbus.producers.postgres.client_encoding import UTF8, Encoding
from sorbus.producers.postgres.fetch import oids_of
from sorbus.producers.postgres.key_claims import KeyClaims
from sorbus.producers.postgres.key_reads import Fetch, KeyReads
from sorbus.producers.postgres.layout import FAULTS, TextRow
from sorbus.producers.postgres.new_partitions import NewPartitions
from sorbus.producers.postgres.own_deliveries import OwnDeliveries
from sorbus.producers.postgres.pgoutput import (
    UNCHANGED,
    Begin,
    Commit,
    Delete,
    Insert,
    PartialRow,
    ProtocolError,
    Relation,
    Row,
    Truncate,
    Update,
    decode,
    lsn_text,
    read_row,
)
from sorbus.producers.postgres.position import CommitSeen, PostgresPosition
from sorbus.producers.postgres.repeated_commits import RepeatedCommits
from sorbus.producers.postgres.row_shape import RowShape
from sorbus.producers.postgres.table_readers import ItemTable, Readers, TableReaders

MAX_CHANGES, MAX_BYTES = 5000, 4_000_000
_REMEMBERED = 10_000
"""Transactions that are remembered, to wait until they are visible: commits become so in another order."""
_LAST_LSN = 2**62
_change = cast("Callable[[tuple[str, bytes, int, int, bytes]], Change]", functools.partial(tuple.__new__, Change))
"""Makes a Change without the cost of its keyword-taking constructor: there is one a row."""


class Taken(NamedTuple):
    """What has been collected. `resolved`: (data type, id) of rejects whose rows have changed or gone."""

    changes: list[Change]
    rejects: list[RejectedRecord]
    sweeps: list[StaleRecordDeletion]
    resolved: list[tuple[str, bytes]]
    delivered: dict[tuple[str, bytes, int], int]
    """See `sorbus.connector.Batch`."""
    is_repeatable: bool
    """Whether these are whole transactions that the stream alone tells, so that it would tell the same again.

    Of the end of one it wouldn't: which keys its beginning has taken is not known then.
    """


class Collector:
    """Collects the changes of the data types in `captures`, going on from `state`."""

    def __init__(
        self,
        captures: Sequence[Capture],
        state: PostgresPosition,
        fetch: Fetch,
        look: Callable[[Capture], None] | None = None,
        start: int = sys.maxsize,
        encoding: Encoding = UTF8,
        names: Names = Names(),  # noqa: B008 - it never changes
    ) -> None:
        """`look` is called when a data type's tables may have changed: it refreshes the capture. `start`: the LSN from
        which the stream is read, where that is before our position. `names`: of the data types' topics.
        """
        self._own = OwnDeliveries([capture.name for capture in captures], names)
        self._encoding = encoding
        self._state = state
        self._ended: CommitSeen | None = None
        self._repeats = RepeatedCommits(state.commit, start)
        self.in_transaction = False
        self._readers = TableReaders(captures, look, may_shorten=encoding.codec is None)
        self._reads = KeyReads(fetch)
        self._straight = self._readers.direct
        self._covered: frozenset[str] = frozenset()
        self._changes: list[Change] = []
        self._rejects: list[RejectedRecord] = []
        self._sweeps: list[StaleRecordDeletion] = []
        self._resolved: list[tuple[str, bytes]] = []
        self._resnapshot: list[str] = []
        self._occupied = KeyClaims()
        self._partitions = NewPartitions()
        self._left_shared: set[str] = set()
        self._is_cut = False
        self._bytes = 0
        self._version = state.version
        self._final = 0
        self._xid = 0
        self._recent: deque[int] = deque(maxlen=_REMEMBERED)
        self._occurred_at = 0
        self._row = 0
        self._skip = 0

    @property
    def state(self) -> PostgresPosition:
        """The position after what was taken and the last commit."""
        if (seen := self._ended) is not None:  # made here and not at each commit, of which a batch may have thousands
            self._ended = None
            self._state = replace(self._state, lsn=seen.end, transaction=0, done=0, commit=seen)
        return self._state

    @state.setter
    def state(self, state: PostgresPosition) -> None:
        self._state, self._ended = state, None

    @property
    def has_work(self) -> bool:
        """Whether there is anything to publish."""
        return bool(
            self._changes
            or self._rejects
            or self._sweeps
            or self._reads.has_marked
            or self._resnapshot
            or self._resolved
        )

    @property
    def is_full(self) -> bool:
        """Whether it is time to publish, even in the middle of a transaction."""
        return len(self._changes) >= MAX_CHANGES or self._bytes >= MAX_BYTES or self._reads.count() >= MAX_CHANGES

    def feed_rows(self, frames: list[bytes], at: int) -> int:
        """Takes the frames from `at` on that are rows as most are; where the first one is that must be fed alone."""
        if native.absence or self._row < self._skip or not self._straight:
            return at
        after, self._version, self._bytes = codec.take_rows(
            frames,
            at,
            self._straight,
            self._changes,
            self._occurred_at,
            self._version,
            self._final,
            self._bytes,
            MAX_CHANGES,
            MAX_BYTES,
        )
        self._row += after - at
        return after

    def feed(self, message: bytes) -> bool:
        """Takes one pgoutput message; False when what is collected must go out first: take, then feed it again."""
        try:
            kind = message[0]
            if kind == 85 or kind == 73:  # U, I: nearly all there is, so the usual case goes straight through
                shape = self._straight.get(message[1:5])
                if shape is not None and message[5] == 78:  # N: the new row alone
                    self._row += 1
                    if self._row > self._skip:
                        self._bytes += len(message)
                        self._state_of(shape, message)
                    return True
            found = decode(message, self._encoding.codec or "utf-8")
            if type(found) is Update or type(found) is Insert or type(found) is Delete:
                self._row += 1
                if self._row <= self._skip:
                    return True
                self._bytes += len(message)
                readers = self._readers.get(found.oid)
                if readers is not None:
                    self._row_changed(readers, found)
                return True
            if type(found) is Truncate:
                if self.has_work:
                    return False
                self._row += 1
                self._partitions.truncated(found.oids)
                if self._row > self._skip:
                    self._truncated(found.oids)
            elif type(found) is Begin:
                self._begin(found)
            elif type(found) is Commit:
                self._committed(found)
            elif type(found) is Relation:
                self._readers.add(found)
                if self._skip < sys.maxsize:
                    self._described(found.oid)
            elif kind == 77 and (note := read_note(message)) is not None:  # M
                self._own.noted(*note)
            return True
        except (IndexError, struct_error) as error:  # cut short, or fewer values than the table has columns
            raise ProtocolError(f"message {message[:1]!r} of {len(message)} bytes isn't as its table is") from error

    def _described(self, oid: int) -> None:
        table = self._partitions.described(oid, (self._final, self._row), self._xid, self.state, self._readers.is_read)
        if table is not None and (readers := self._readers.get(table)) is not None:
            self._must_copy(readers.names)

    @property
    def has_new_partitions(self) -> bool:
        """Whether a look at the catalog is due before what was collected is taken; then `looked_for_partitions`."""
        return bool(self._partitions)

    @property
    def has_left_shared(self) -> bool:
        """Whether a row has gone whose key another one may have by a transaction of before this stream."""
        return bool(self._left_shared)

    def doubt(self) -> None:
        """Such a transaction may not be visible yet."""
        self._must_copy(self._left_shared)

    def looked(self) -> None:
        """The catalog was looked at."""
        self._readers.looked()

    def looked_for_partitions(self) -> None:
        """`state` remembers a new look. Rows of partitions that are gone, or were, only a new copy can delete."""
        for oid in self._partitions.gone(self.state):
            if (readers := self._readers.get(oid)) is not None:
                self._must_copy(readers.names)

    def reached(self, lsn: int) -> None:
        """The server has sent everything before `lsn`. LostPosition where what was read before wasn't among it."""
        if lsn >= self.state.lsn:
            self._repeats.passed()

    def _begin(self, begin: Begin) -> None:
        _check_lsn(begin.final_lsn)
        self.in_transaction = True
        self._final, self._xid, self._occurred_at = begin.final_lsn, begin.xid, begin.committed_at
        self._row = 0
        self._own.begin(len(self._changes))
        state, ended = self._state, self._ended
        self._skip = state.done if ended is None and state.transaction == begin.final_lsn else 0
        if begin.final_lsn < (state.lsn if ended is None else ended.end):
            self._skip = sys.maxsize
        # What a snapshot has seen already it has seen as it was later: an older state must not come after it.
        self._covered = frozenset(name for name, lsn in state.fresh.items() if begin.final_lsn < lsn)
        self._straight = {} if self._covered else self._readers.direct
        if self._reads.has_marked:  # they are read after all that is in this batch
            self._reads.after((begin.xid,))
        self._occupied.begin(len(self._changes), len(self._rejects), is_repeated=self._skip > 0)

    def _committed(self, commit: Commit) -> None:
        _check_lsn(commit.end_lsn)
        self.in_transaction = False
        self._own.label(self._changes, self._reads.completed)
        self._recent.append(self._xid)
        seen = CommitSeen(commit.end_lsn, commit.committed_at, self._xid)
        if self._skip == sys.maxsize:
            self._repeats.repeated(seen, self.state.commit)
        else:
            self._repeats.passed()
            self._ended = seen
        self._skip = 0

    def _state_of(self, shape: RowShape, message: bytes) -> None:
        """A row's new state, of a table that one data type reads as its record's own."""
        row, end = read_row(message, 6)
        if end > len(message):
            raise ProtocolError("a row ends in the middle of a value")
        version = self._version + 1
        if version < self._final:
            version = self._final
        self._version = version
        id = shape.id(row)
        if id is None or type(row) is PartialRow:
            self._new_state(shape, row, id, version)
            return
        whole = cast("list[bytes | None]", row)
        try:
            data = b"".join(shape.fields(whole))
        except FAULTS:
            self._new_state(shape, row, id, version)
            return
        self._changes.append(_change((shape.capture.name, id, version, self._occurred_at, data)))

    def _next_version(self) -> int:
        version = self._version + 1
        if version < self._final:
            version = self._final
        self._version = version
        return version

    def _row_changed(self, readers: Readers, message: Insert | Update | Delete) -> None:
        old = None if type(message) is Insert else cast("Update | Delete", message).old
        new = None if type(message) is Delete else cast("Insert | Update", message).new
        is_full = type(message) is not Insert and cast("Update | Delete", message).is_full
        if self._encoding.codec is not None:
            old, new = self._in_utf8(old), self._in_utf8(new)
        if old is not None and type(new) is PartialRow:
            new = _filled(new, old)
        self._must_copy(readers.replaced if type(message) is Insert else readers.replaced | readers.blind)
        for shape in readers.roots:
            if shape.capture.name in self._covered:
                continue
            if shape.wants_examples and new is not None:
                shape.show(new)
                self._readers.shorten(message.oid, readers)
            self._root_changed(shape, None if shape.capture.name in readers.blind else old, new, is_full)
        for parent in readers.parents:
            if parent.capture.name in self._covered or parent.capture.name in readers.blind:
                continue
            for row in (old, new):
                if row is not None:
                    self._item_changed(parent, row, is_key_alone=row is old and not is_full)

    def _must_copy(self, names: Collection[str]) -> None:
        """The stream can't tell what becomes of these data types' records: only a new copy can."""
        begun = self.state.begun()
        known = {*self._covered, *self._resnapshot, *(name for name in self.state.resnapshot if name not in begun)}
        self._resnapshot += sorted(name for name in names if name not in known)

    def _in_utf8(self, row: Row | None) -> Row | None:
        if row is None:
            return None
        incoming = self._encoding.incoming
        values: Row = [incoming(value) if isinstance(value, bytes) else value for value in row]
        return PartialRow(values) if type(row) is PartialRow else values

    def _root_changed(self, shape: RowShape, old: Row | None, new: Row | None, is_full: bool) -> None:
        """A row of the table that the record is kept in, and with it the record."""
        capture = shape.capture
        id = None if new is None else shape.id(new)
        if old is not None:
            old_id = shape.id(old)
            if old_id is None:
                self._without_key(shape, old, is_full)
            elif old_id != id:
                self._left(shape, old, old_id)
        if new is None:
            return
        if capture.is_aggregate and id is not None:
            self._mark(capture, "", cast("Key", shape.key(new)))
        else:
            self._new_state(shape, new, id, self._next_version())

    def _left(self, shape: RowShape, old: Row, id: bytes) -> None:
        """A row has left its key: deleted, or changed to another one. Only the database knows who has it now."""
        capture = shape.capture
        is_shared = not shape.is_unique or bool(capture.members_of(capture.table).heirs)
        if is_shared:  # what another row of this key has become must be seen
            self._reads.after(self._recent)
            if not capture.is_aggregate:  # of those, all that was published was read, and so was visible
                self._left_shared.add(capture.name)
        if capture.is_aggregate or is_shared or self._occupied.has(capture.name, id, self._changes, self._rejects):
            self._mark(capture, "", cast("Key", shape.key(old)), is_left=True)
        else:
            self._changes.append(Change(capture.name, id, self._next_version(), self._occurred_at, None))

    def _without_key(self, shape: RowShape, old: Row, is_full: bool) -> None:
        """The old state of a row that was no record, or of one that the stream doesn't name."""
        capture = shape.capture
        if is_full:
            self._resolved.append((capture.name, capture.unkeyed(list(shape.oids), old)))
        else:  # its replica identity lacks the key: who it was can't be told
            self._must_copy({capture.name})

    def _item_changed(self, parent: ItemTable, row: Row, *, is_key_alone: bool) -> None:
        """A row of a list field's table: the record it belongs to is read again."""
        key = parent.key(row)
        if all(isinstance(part, bytes) for part in key):
            self._mark(parent.capture, parent.part, cast("Key", key))
        elif is_key_alone or UNCHANGED in key:  # whose item it was can't be told
            self._must_copy({parent.capture.name})

    def again(self, capture: Capture, keys: Iterable[Key], *, may_be_gone: bool = True) -> None:
        """The records with these keys are read again: `take` has their states, and deletes where they `may_be_gone`.

        All that the stream has told of must be visible then, or a record that it said was deleted would be back.
        """
        self._reads.after(self._recent)
        for key in keys:
            self._mark(capture, "", key, is_left=may_be_gone)
        self._occurred_at = max(self._occurred_at, time.time_ns() // 1000)

    @property
    def recent(self) -> Collection[int]:
        """Transactions that the stream has told of lately, and that were not seen to be visible yet."""
        return self._recent

    def seen(self) -> None:
        """A snapshot has shown all of `recent`."""
        self._recent.clear()

    def unkeyed(self, capture: Capture, rows: Iterable[TextRow]) -> None:
        """Rows of a record's table (its `columns`) whose key names no record."""
        oids = oids_of(capture, capture.columns())
        now = time.time_ns() // 1000
        self._rejects += [capture.no_key(oids, row, self._next_version(), now) for row in rows]

    def new_version(self) -> int:
        """A version above all that were given."""
        return self._next_version()

    def _new_state(self, shape: RowShape, new: Row, id: bytes | None, version: int) -> None:
        capture = shape.capture
        if id is None:
            bad = capture.no_key(shape.oids, new, version, self._occurred_at)
            self._resolved = [each for each in self._resolved if each != (bad.data_type, bad.id)]
            self._rejects.append(bad)
            return
        if shape.layout.missing and capture.is_whole:  # from before a column was made or renamed: read what is there
            self._mark(capture, "", cast("Key", shape.key(new)))
            return
        if type(new) is PartialRow:
            key = cast("Key", shape.key(new))
            self._reads.complete_later(len(self._changes), capture, key, self._xid, version, self._occurred_at)
            self._changes.append(Change(capture.name, id, version, self._occurred_at, None))
            return
        made = capture.make(shape.layout, shape.oids, cast("list[bytes | None]", new), id, version, self._occurred_at)
        if type(made) is Change:
            self._changes.append(made)
        else:
            self._rejects.append(cast("RejectedRecord", made))

    def _mark(self, capture: Capture, part: str, key: Key, *, is_left: bool = False) -> None:
        self._reads.mark(capture, part, key, self._xid, is_left=is_left)

    def _truncated(self, oids: Sequence[int]) -> None:
        readers = [found for oid in oids if (found := self._readers.get(oid)) is not None]
        swept: set[str] = set(self._covered)
        for reader in readers:
            for capture in (shape.capture for shape in reader.roots if shape.capture.name not in swept):
                members = capture.members_of(capture.table)
                if capture.table.oid in oids and members.heirs <= set(oids):
                    swept.add(capture.name)
                    self._sweeps.append(StaleRecordDeletion(capture.name, self._next_version(), self._occurred_at))
        for reader in readers:
            self._must_copy(reader.names - swept)

    def take(self) -> Taken:
        """What has been collected, in the stream's order, and `state` moved past it."""
        has_read = self._reads.has_marked
        self._own.label(self._changes, self._reads.completed)
        changes = self._reads.read(self._changes, self._rejects, self._occurred_at, self._next_version)
        if has_read and self._reads.awaits(self._recent):
            self._recent.clear()  # they have been seen, and need not be looked for again
        if self.in_transaction:
            self._occupied.cut(changes, self._rejects)
        is_open = self.in_transaction and self._skip < sys.maxsize
        others = self._rejects or self._sweeps or self._resolved or self._resnapshot
        is_cut = self.in_transaction or self._is_cut
        is_repeatable = not (has_read or self._reads.completed or others or is_cut)
        self._is_cut = self.in_transaction
        taken = Taken(changes, self._rejects, self._sweeps, self._resolved, self._own.take(), is_repeatable)
        self.state = replace(
            self.state.untold(self._resnapshot) if self._resnapshot else self.state,
            version=self._version,
            transaction=self._final if is_open else 0,
            done=max(self._row, self._skip) if is_open else 0,
        )
        self._changes, self._rejects, self._sweeps, self._resolved = [], [], [], []
        self._resnapshot, self._bytes = [], 0
        self._left_shared.clear()
        self._reads.clear()
        return taken


def _check_lsn(lsn: int) -> None:
    """ProtocolError for one that no server can have reached: versions are made of it, and must fit into 64 bits."""
    if lsn > _LAST_LSN:
        raise ProtocolError(f"the log position {lsn_text(lsn)} is one that no server can have reached")


def _filled(new: PartialRow, old: Row) -> Row:
    """What an update left as it was, taken from the old row as far as the stream carries that: its key, or all."""
    if len(old) != len(new):
        raise ProtocolError(f"an update's old row has {len(old)} values, and its new one {len(new)}")
    values: Row = [was if now is UNCHANGED and was is not None else now for was, now in zip(old, new, strict=True)]
    return PartialRow(values) if UNCHANGED in values else values
