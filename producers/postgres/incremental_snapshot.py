"""Incremental snapshots: a data type's records read by ranges of their key, a chunk at a time, beside the stream.

A chunk has a snapshot of its own that shows every transaction the stream has told of until then. What the stream says
of a record while its chunk is under way is newer: the chunk's state of it is dropped, since it could only go back. That
holds for what the stream tells. What it doesn't (a rewritten table) was seen before the snapshot began, and the stream
has passed that place: else a change from before the rewrite would come last, and its record stay as it was then. All
else gets the stream's next version when it is published, so whatever happens to it later has a higher one. Each event
holds a record's full state: nothing else is needed. A record that is deleted before its chunk isn't published; one
whose key moves is published by the stream under its new key.

The stream comes first: the server reads a chunk while changes are published, and what has arrived of it is published in
slices of a few milliseconds. A chunk holds a snapshot and a weak lock for a few seconds, and nothing between chunks.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import NamedTuple

from psycopg import sql

from sorbus.connector import Change, RejectedRecord, StaleRecordDeletion
from sorbus.errors import PermanentError, TransientError
from sorbus.mapping.errors import RuleError
from sorbus.postgres.connection import postgres_errors
from sorbus.producers.postgres.capture import Capture, Key
from sorbus.producers.postgres.chosen_records import ChosenRecords
from sorbus.producers.postgres.chunk import Chunk, TablesChangedError
from sorbus.producers.postgres.client_encoding import Encoding, statement_bytes
from sorbus.producers.postgres.collect import MAX_BYTES, Collector
from sorbus.producers.postgres.key_order import first_rows, unkeyed_rows
from sorbus.producers.postgres.layout import TextRow
from sorbus.producers.postgres.open_source import OpenSource
from sorbus.producers.postgres.position import PostgresPosition, SnapshotProgress

_ROWS, _MOST_ROWS, _MOST_AGGREGATES = 5000, 200_000, 2000
_BY_KEY = 200
_LONGEST = 30.0
"""Seconds after which a chunk is cut short: its snapshot holds VACUUM back."""
_MOST_NEWER = 100_000
_ASK_EVERY = 0.05
_LONG = 1.0
"""Seconds of waiting for transactions after which those of other databases are told from the rest, as often."""
_UNSEEN = 30.0
"""Seconds after which a transaction that was streamed should be visible."""
_BLOCKER_EVERY, _RATE_OVER = 10.0, 5.0
_PATIENCE = 60.0
"""Seconds after which people are told what is waited for."""
_log = logging.getLogger(__name__)


class Slice(NamedTuple):
    """The next records, and how far the snapshot is after them.

    `keys`: records that are to be read by key, since the server can't compute or convert some row among them.
    `is_last`: there are no more.
    """

    capture: Capture
    made: Sequence[Change | RejectedRecord]
    keys: Sequence[Key]
    progress: SnapshotProgress
    is_last: bool


class IncrementalSnapshot:
    """What is due of one source, a data type after the other."""

    def __init__(self, source: OpenSource) -> None:
        self._source = source
        self._awaited: dict[str, tuple[int, float]] = {}
        self._marks: dict[str, int] = {}
        self._ready: str | None = None
        self._started = 0
        self._asked_at = self._blocker_at = 0.0
        self._blocker = ""
        self._chosen: ChosenRecords | None = None
        self._rate_from = (0, 0.0, 0)
        self._chunk: Chunk | None = None
        self._newer: set[bytes] = set()
        self._next = (0, _ROWS)
        self._by_key = 0
        self._unseen_since: float | None = None
        self._ended: tuple[int, Key | None] | None = None

    def due(self, state: PostgresPosition) -> SnapshotProgress | None:
        """What is being read, or is to be read next (its version is 0 if it hasn't begun)."""
        turn = state.turn([each.name for each in self._source.captures])
        return turn[0] if turn and not turn[0].is_paused else None

    def may_read(self, state: PostgresPosition, passed: int) -> bool:
        """Whether there is anything to read now; `passed`: the stream has told all before this LSN. TransientError."""
        if state.copying is None and self._started:  # it is over, paused or was given up
            self._ready, self._started = None, 0
            self._drop()
        due = self.due(state)
        return due is not None and (due.data_type == self._ready or self._may_begin(due.data_type, passed))

    def tables_changed(self, again: Collection[str] = ()) -> None:
        """A look has found what the stream may not tell: what hasn't begun waits until the stream has passed it.

        `again`: data types that wait once more for all transactions that are open, too. The others don't: on a server
        that makes a partition every minute they would wait forever.
        """
        now, ready = time.monotonic(), None if self._started else self._ready
        if ready is not None:
            self._awaited[ready], self._ready = (0, now), None
        self._awaited = {name: awaited for name, awaited in self._awaited.items() if name not in again}
        self._marks = {}

    @property
    def sockets(self) -> tuple[int, ...]:
        """Where rows arrive."""
        return () if self._chunk is None else (self._chunk.socket,)

    @property
    def is_waiting(self) -> bool:
        """Whether to ask the server again soon."""
        return bool(self._awaited) or self._unseen_since is not None

    @property
    def problem(self) -> str | None:
        """Why nothing is read, if that has lasted for a while."""
        chunk = self._chunk
        if chunk is not None and chunk.first_after is None and time.monotonic() - chunk.began_at > _PATIENCE:
            return (
                f"the snapshot of {chunk.capture.name} waits: another session locks {chunk.capture.table.name}"
                " (see pg_locks), or the server sorts it; changes are published meanwhile"
            )
        for data_type, (_, since) in self._awaited.items():
            if data_type not in self._marks and time.monotonic() - since > _PATIENCE:
                return (
                    f"the snapshot of {data_type} waits for a transaction that was open when it was to begin:"
                    f" {self._blocker or 'see pg_stat_activity'}; other changes are published meanwhile"
                )
        return None

    def _may_begin(self, data_type: str, passed: int) -> bool:
        """Whether all transactions that were open when this was first asked have ended, and the stream has told them.

        What one wrote to a table before the publication held it isn't streamed: only a later snapshot shows it. And a
        transaction that was streamed before a restart may not be visible yet.
        """
        if (mark := self._marks.get(data_type)) is not None:
            if passed < mark:
                return False
            del self._marks[data_type], self._awaited[data_type]
            self._ready = data_type
            return True
        now = time.monotonic()
        since = self._awaited[data_type][1] if data_type in self._awaited else now
        is_long = now - since > _LONG
        if now - self._asked_at < (_LONG if is_long else _ASK_EVERY):
            return False
        self._asked_at = now
        if data_type not in self._awaited:
            self._awaited[data_type] = self._source.next_xid(), now
        awaited, oldest = self._awaited[data_type][0], self._source.oldest_open()
        if oldest < awaited and is_long:
            oldest = self._source.oldest_open_here()
        if oldest < awaited:
            if now - since > _PATIENCE and time.monotonic() > self._blocker_at + _BLOCKER_EVERY:
                self._blocker, self._blocker_at = self._source.holder_of(oldest), time.monotonic()
            return False
        self._marks[data_type] = self._source.mark_log()
        return False

    def is_ready(self, data_type: str) -> bool:
        """Whether `may_read` has found that its snapshot may begin."""
        return data_type == self._ready

    def saw(
        self,
        changes: Sequence[Change],
        rejects: Sequence[RejectedRecord],
        sweeps: Sequence[StaleRecordDeletion],
    ) -> None:
        """What the stream said: of these records, a chunk under way knows nothing newer."""
        if self._chunk is None:
            return
        name = self._chunk.capture.name
        self._newer.update(change.id for change in changes if change.data_type == name)
        self._newer.update(reject.id for reject in rejects if reject.data_type == name)
        if len(self._newer) > _MOST_NEWER or any(sweep.data_type == name for sweep in sweeps):
            self._drop()

    def read(
        self,
        progress: SnapshotProgress,
        stream: Collector,
        seconds: float,
    ) -> Slice | None:
        """What has arrived, for at most so many seconds; None: nothing has.

        `stream` collects what the stream tells, and is between two transactions. TransientError, AuthError.
        """
        capture = next(each for each in self._source.captures if each.name == progress.data_type)
        place, self._started = (progress.version, key_of(progress)), progress.version
        if self._ended == place:
            return Slice(capture, (), (), progress, True)
        if self._chunk is not None and (self._chunk.capture is not capture or self._next[0] != progress.version):
            self._drop()
        if self._by_key:
            return self._keys(capture, progress)
        if self._chunk is None and not self._begin(capture, progress, stream):
            return None
        chunk = self._chunk
        assert chunk is not None
        count = chunk.count
        try:
            made = chunk.take(time.monotonic() + seconds, MAX_BYTES, self._newer, stream.new_version)
        except TablesChangedError:
            self._drop()
            return None
        except TransientError:
            if not chunk.session[0].closed:
                raise
            self._drop()  # the server ended it, as it was idle for too long: the rest is another chunk
            return None
        except PermanentError as error:
            _log.warning("%s; reading the next records of %s by key", error, capture.name)
            self._drop()
            self._by_key = -(-chunk.limit // _BY_KEY)
            return self._keys(capture, progress)
        if made is None:
            return None
        whole_keys = capture.shared_key is None or chunk.is_over
        after = chunk.after if whole_keys else key_of(progress)
        moved = self._moved(progress, after, chunk.count - count)
        if chunk.is_over:
            self._over(chunk, moved)
        elif time.monotonic() - chunk.began_at > _LONGEST and whole_keys:
            self._drop()
        return Slice(capture, made, (), moved, False)

    def close(self) -> None:
        """Gives up what is under way."""
        self._drop()

    def expected(self, data_type: str) -> int:
        """About how many records there are."""
        return self._source.expected(next(each for each in self._source.captures if each.name == data_type))

    def chosen(self, part: Slice, changes: list[Change]) -> tuple[list[Change], SnapshotProgress]:
        """The changes that the snapshot's condition lets through, and the progress after them."""
        progress = part.progress
        if not progress.where:
            return changes, progress
        assert self._chosen is not None
        return self._chosen.choose(changes, progress)

    def flaw(self, progress: SnapshotProgress) -> str | None:
        """Why its condition can't be used, if it has one: the map may have changed since it was asked for."""
        key = progress.data_type, progress.where
        if progress.where and (self._chosen is None or self._chosen.key != key):
            capture = next(each for each in self._source.captures if each.name == progress.data_type)
            try:
                self._chosen = ChosenRecords(capture, progress.where)
            except RuleError as error:
                return f"{progress.where!r}: {error}"
        return None

    def unkeyed(self, capture: Capture) -> list[TextRow]:
        """The rows whose key names no record."""
        query = unkeyed_rows(capture)
        return [] if query is None else self._ask(capture, query)

    def _begin(self, capture: Capture, progress: SnapshotProgress, stream: Collector) -> bool:
        now = time.monotonic()
        with postgres_errors(f"reading {capture.name}"):
            session, encoding = self._source.chunk_session()
            try:
                has_begun = Chunk.begin(session, stream.recent)
            except BaseException:
                session.close()
                raise
        if not has_begun:
            self._source.keep_chunk_session((session, encoding))
            self._unseen_since = self._unseen_since or now
            if now - self._unseen_since > _UNSEEN:
                raise TransientError("a transaction was streamed but is still not visible to others")
            return False
        self._unseen_since = None
        self._source.make_durable()
        stream.seen()
        rows = self._next[1] if self._next[0] == progress.version else _ROWS
        rows = min(rows, _MOST_AGGREGATES) if capture.is_aggregate else rows
        self._next = progress.version, rows
        self._newer = set()
        source = self._source
        self._chunk = Chunk(session, encoding, capture, key_of(progress), rows, source.refresh, source.files)
        return True

    def _over(self, chunk: Chunk, progress: SnapshotProgress) -> None:
        """The next chunk is larger if the server needed long to find this one's first row."""
        self._source.keep_chunk_session(chunk.session)
        self._chunk = None
        if chunk.count < chunk.limit:
            self._ended = progress.version, key_of(progress)
        if (chunk.first_after or 0.0) > (time.monotonic() - chunk.began_at) / 4:
            self._next = progress.version, min(chunk.limit * 2, _MOST_ROWS)

    def _moved(self, progress: SnapshotProgress, after: Key | None, count: int) -> SnapshotProgress:
        now, records = time.monotonic(), progress.records + count
        version, since, had = self._rate_from
        rate = progress.rate
        if version != progress.version:
            self._rate_from = progress.version, now, records
        elif now - since > _RATE_OVER or (not rate and now - since > 0.5):
            rate = round((records - had) / (now - since), 1)
            self._rate_from = version, now, records
        return replace(progress, after=texts_of(after), records=records, rate=rate)

    def _drop(self) -> None:
        chunk, self._chunk = self._chunk, None
        if chunk is not None:
            chunk.close()

    def _keys(self, capture: Capture, progress: SnapshotProgress) -> Slice:
        self._by_key -= 1
        query = first_rows(capture, capture.key, key_of(progress), _BY_KEY)
        keys = [tuple(row) for row in self._ask(capture, query)]
        after = keys[-1] if keys else key_of(progress)
        moved = self._moved(progress, after, len(keys))
        if len(keys) < _BY_KEY:
            self._by_key, self._ended = 0, (progress.version, key_of(moved))
        return Slice(capture, (), keys, moved, False)

    def _ask(self, capture: Capture, query: sql.Composed) -> list[TextRow]:
        with self._source.reading() as (session, encoding), postgres_errors(f"reading {capture.name}"):
            session.execute("set transaction read only")
            found = session.execute(statement_bytes(query, encoding)).pgresult
            assert found is not None
            columns = range(found.nfields)
            self._source.make_durable()
            return [
                [_text(found.get_value(row, column), encoding) for column in columns] for row in range(found.ntuples)
            ]


def _text(value: bytes | None, encoding: Encoding) -> bytes | None:
    return None if value is None else encoding.incoming(value)


def key_of(progress: SnapshotProgress) -> Key | None:
    """The last key that was read."""
    after = progress.after
    return None if after is None else tuple(t if t is None else t.encode(errors="surrogateescape") for t in after)


def texts_of(key: Key | None) -> tuple[str | None, ...] | None:
    """A key as a position keeps it, whatever bytes it has."""
    return None if key is None else tuple(t if t is None else t.decode(errors="surrogateescape") for t in key)
