"""Reading batches from the replication stream: frames in, changes collected, the slot kept moving while idle."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace

from sorbus.connector import Batch, Change, RejectedRecord, StaleRecordDeletion
from sorbus.postgres.connection import Connection as Session
from sorbus.postgres.connection import postgres_errors
from sorbus.producers.postgres.client_encoding import read_natively
from sorbus.producers.postgres.collect import Collector, Taken
from sorbus.producers.postgres.earlier_transactions import EarlierTransactions
from sorbus.producers.postgres.incremental_snapshot import IncrementalSnapshot, Slice
from sorbus.producers.postgres.open_source import OpenSource
from sorbus.producers.postgres.pgoutput import Keepalive, decode_frame, mark_lsn
from sorbus.producers.postgres.position import PostgresPosition
from sorbus.producers.postgres.snapshot_pace import SnapshotPace, StreamState
from sorbus.producers.postgres.stream import ReplicationStream
from sorbus.producers.record_keys import record_key
from sorbus.producers.requested_records import RequestedRecords

_IDLE_STORE = 10.0
_log = logging.getLogger(__name__)


class StreamReader:
    """One stream, from the state's position on; `state` is where it is. `requested` records are read in between."""

    def __init__(
        self,
        source: OpenSource,
        replication: Session,
        slot: str,
        state: PostgresPosition,
        start: int,
        requested: RequestedRecords,
        snapshot: IncrementalSnapshot,
    ) -> None:
        """`start`: where to stream from, if that is before the position. TransientError, LostPosition."""
        self._source, self._requested, self._snapshot = source, requested, snapshot
        self._earlier = EarlierTransactions(source)
        with postgres_errors("connecting for replication"):
            encoding = read_natively(replication)
        start = min(start, state.lsn)
        self._stream = ReplicationStream(replication, slot, slot, start)
        # The server process that had the slot may have moved it until it left.
        start = max(start, source.confirmed(state))
        names = source.names
        self._collector = Collector(source.captures, state, source.fetch, source.refresh, start, encoding, names)
        self._pace = SnapshotPace()
        self._is_followed = self._must_store = False
        self._repeat_lsn = 0
        self._is_behind: Callable[[], bool] = lambda: False
        self._frames: list[bytes] = []
        self._at = 0
        """What has arrived, and which frame is next."""
        self._wal_end = 0
        self._is_marked = False
        self._stored_at = time.monotonic()

    @property
    def state(self) -> PostgresPosition:
        """The position after all that was read."""
        return self._collector.state

    @state.setter
    def state(self, state: PostgresPosition) -> None:
        self._collector.state = state

    def requested(self, state: PostgresPosition) -> None:
        """The same state but for what a person has requested of a snapshot: it is stored soon."""
        self.state, self._must_store = state, True

    @property
    def problem(self) -> str | None:
        """Why a snapshot beside the stream doesn't progress."""
        paused = [each.data_type for each in self.state.waiting if each.is_paused]
        told = [f"the snapshot of {name} is paused; resume it: sorbus backfill {name} --resume" for name in paused]
        return "; ".join(dict.fromkeys([*filter(None, [self._snapshot.problem]), *told])) or None

    def repeat_while(self, is_behind: Callable[[], bool]) -> None:
        """While `is_behind`, each batch ends with a commit, and nothing is read beside the stream.

        Only what is committed by now can come again: a source that was restored tells the rest never.
        """
        self._repeat_lsn, self._is_behind = self._source.mark_log(), is_behind

    @property
    def _is_repeating(self) -> bool:
        return self._passed < self._repeat_lsn and self._is_behind()

    @property
    def _passed(self) -> int:
        """The stream has told all before this LSN."""
        return max(self._wal_end, self.state.lsn)

    def confirm(self, lsn: int) -> None:
        """The slot may forget everything before this."""
        self._stream.confirm(lsn)
        self.state = replace(self.state, confirmed=max(lsn, self.state.confirmed))

    def read(self, wait: float) -> Batch | None:
        """The next batch; None when nothing came within `wait` seconds. TransientError, LostPosition."""
        stream, collector = self._stream, self._collector
        is_between = not collector.in_transaction and not collector.has_work
        if (self._requested or self._earlier.unsure) and is_between and not self._is_repeating:
            self._read_requested()
        if self._source.is_look_due:
            self._look_again()
        if self._must_store and not collector.in_transaction and not collector.has_work:
            self._must_store = False
            return Batch((), (), (), self.state.to_position(), True)
        if self._is_followed:
            self._is_followed = False
            return self._read_beside(StreamState.CAUGHT_UP, caught_up=True)
        if (batch := self._read_beside(StreamState.BEHIND)) is not None:
            return batch
        is_repeating = self._is_repeating
        deadline = time.monotonic() + wait
        caught_up = False
        while not collector.is_full:
            if self._at == len(self._frames):
                self._frames, self._at = stream.arrived(), 0
            if not self._frames:
                if collector.has_work and not collector.in_transaction:
                    caught_up = True
                    break
                if (batch := self._read_beside(StreamState.IDLE)) is not None:
                    return batch
                if (left := deadline - time.monotonic()) <= 0 and not collector.in_transaction:
                    return self._idle()
                self._wait(max(left, 0.05))
                stream.keep_alive()
                continue
            if (at := collector.feed_rows(self._frames, self._at)) != self._at:
                self._at = at
                continue
            frame = self._frames[self._at]
            self._at += 1
            if frame[0] == 119 and len(frame) > 25:  # w: XLogData
                if frame[25] == 77 and (mark := mark_lsn(frame[25:])) is not None:  # M
                    self._wal_end, self._is_marked = max(mark, self._wal_end), True
                    if not collector.has_work:
                        return self._idle()
                elif not collector.feed(frame[25:]):
                    self._at -= 1
                    break
                elif is_repeating and collector.has_work and not collector.in_transaction:
                    break
            else:
                self._answer(decode_frame(frame))
        if collector.has_new_partitions:
            self._look_for_partitions()
        if collector.has_left_shared and not self._earlier.waited():
            collector.doubt()
        changes, rejects, sweeps, resolved, delivered, is_repeatable = collector.take()
        self._snapshot.saw(changes, rejects, sweeps)
        if new := self.state.new_among(capture.name for capture in self._source.captures):
            self.state = self.state.told(new.intersection(change.data_type for change in changes))
        self._pace.streamed()
        # A slice of the snapshot may share the transaction, which is committed after it.
        self._is_followed = caught_up and self._pace.slice(StreamState.CAUGHT_UP) is not None and (
            self._snapshot.may_read(self.state, self._passed)
        )  # fmt: skip
        self._stored_at = time.monotonic()
        is_all = caught_up and not self._is_followed
        position = self.state.to_position()
        is_repeatable = is_repeatable and not self._must_store
        return Batch(changes, rejects, sweeps, position, is_all, None, resolved, delivered, is_repeatable)

    def close(self) -> None:
        """Gives up what is read beside the stream."""
        self._snapshot.close()

    def _read_requested(self) -> None:
        earlier, have_ended = self._earlier, self._earlier.have_ended()
        if have_ended:
            for again in earlier.unsure:
                self._requested.add(*again)
            earlier.unsure.clear()
        if not self._requested or (earlier.is_patient and not have_ended):
            return
        by_name = {capture.name: capture for capture in self._source.captures}
        data_type, ids = self._requested.take()
        if not have_ended:
            earlier.unsure.append((data_type, ids))
        if (capture := by_name.get(data_type)) is not None:
            found = (record_key(id, len(capture.key)) for id in ids)
            self._collector.again(capture, [key for key in found if key is not None])

    def _wait(self, seconds: float) -> None:
        """Until something arrives: changes, or rows of the snapshot whose turn has come."""
        snapshot = self._snapshot
        sockets = snapshot.sockets
        if sockets and self._pace.slice(StreamState.IDLE) is None:
            self._stream.wait(0.01)  # its rows are there, but the stream comes first for a while
        else:
            self._stream.wait(min(seconds, 0.05 if snapshot.is_waiting else 1.0), *sockets)

    def _read_beside(self, stream: StreamState, *, caught_up: bool = False) -> Batch | None:
        """The next slice of the snapshot that is due, if its turn has come. TransientError, AuthError."""
        snapshot, collector, pace = self._snapshot, self._collector, self._pace
        is_amid = collector.in_transaction or collector.has_work or self._is_repeating
        if is_amid or not snapshot.may_read(self.state, self._passed):
            return None
        if (seconds := pace.slice(stream)) is None:
            return None
        began = time.monotonic()
        if self.state.copying is None and not self._begin_snapshot():
            return None
        progress = self.state.copying
        assert progress is not None
        if (flaw := snapshot.flaw(progress)) is not None:
            _log.error("the snapshot of %s is given up: %s", progress.data_type, flaw)
            self.requested(self.state.finished(replace(progress, example=flaw)))
            return None
        part = snapshot.read(progress, collector, seconds)
        if part is None:
            return None
        batch = self._ended_snapshot(part) if part.is_last else self._published(part)
        pace.took(began)
        self._stored_at = time.monotonic()
        return batch._replace(caught_up=caught_up)

    def _begin_snapshot(self) -> bool:
        if self._source.is_look_overdue and not self._source.is_look_due:
            return False
        self._look_again()
        due = self._snapshot.due(self.state)
        if self._source.is_look_overdue or due is None or not self._snapshot.is_ready(due.data_type):
            return False  # a table is locked, or another one is to be read first by now
        version = due.version or self._collector.new_version()
        sweep = due.sweep or (not due.where and due.data_type in self.state.resnapshot)  # also one paused until now
        begun = replace(due, version=version, sweep=sweep, expected=self._snapshot.expected(due.data_type))
        self.requested(replace(self.state.begin(due, begun), version=max(self.state.version, version)))
        return True

    def _look_again(self) -> None:
        looked = self._source.look_again(self.state)
        if looked != self.state:
            is_all = looked.published != self.state.published
            names = [capture.name for capture in self._source.captures] if is_all else self._source.lapsed
            self._snapshot.tables_changed(names)
        self.state = looked
        self._collector.looked()

    def _look_for_partitions(self) -> None:
        if self._source.is_look_overdue and not self._source.is_look_due:
            return  # a table is locked: to ask at every batch would slow the stream
        self._look_again()
        if not self._source.is_look_overdue:
            self._snapshot.tables_changed()  # the stream may have more of their rows to tell
            self._collector.looked_for_partitions()

    def _published(self, part: Slice) -> Batch:
        collector = self._collector
        if part.keys:
            collector.again(part.capture, part.keys, may_be_gone=False)
        changes, rejects, sweeps, resolved, delivered, _ = collector.take()
        changes += [made for made in part.made if type(made) is Change]
        rejects += [made for made in part.made if type(made) is RejectedRecord]
        changes, progress = self._snapshot.chosen(part, changes)
        self.state = replace(self.state, copying=progress)
        return self._batch_of(part, Taken(changes, rejects, sweeps, resolved, delivered, False))

    def _ended_snapshot(self, part: Slice) -> Batch:
        """Rows without a key, and the deletion of stale records, which goes after the last that was read."""
        collector, progress = self._collector, part.progress
        collector.unkeyed(part.capture, self._snapshot.unkeyed(part.capture))
        taken = collector.take()
        self._source.check_snapshot(part.capture, self.state)
        collector.looked()
        if progress.sweep and not progress.is_stale:
            now = time.time_ns() // 1000
            taken.sweeps.append(StaleRecordDeletion(progress.data_type, progress.version, now, spares_rejected=True))
        self.state = self.state.finished(progress)
        return self._batch_of(part, taken)

    def _batch_of(self, part: Slice, taken: Taken) -> Batch:
        changes, rejects, sweeps, resolved, delivered, _ = taken
        records = part.progress.records
        told = part.progress.data_type, records, records if part.is_last else max(records, part.progress.expected)
        return Batch(changes, rejects, sweeps, self.state.to_position(), False, told, resolved, delivered)

    def _answer(self, frame: object) -> None:
        if isinstance(frame, Keepalive):
            if not self._collector.in_transaction:
                self._wal_end = frame.end
            if frame.must_reply:
                self._stream.keep_alive(at_once=True)

    def _idle(self) -> Batch | None:
        """Nothing to publish: keep the slot moving, so that an idle or filtered source doesn't hold its log back.

        The position goes to the bus first and only then to the slot; so a slot that is ahead of our position has been
        moved by somebody else, and changes are missing.
        """
        self._stream.keep_alive()
        self._source.beat()
        lsn = self._passed
        self._collector.reached(self._wal_end)
        now = time.monotonic()
        if lsn > self._stream.flushed and (self._is_marked or now - self._stored_at > _IDLE_STORE):
            self._stored_at, self._is_marked = now, False
            self.state = replace(self.state, lsn=lsn)
            return Batch((), (), (), self.state.to_position(), True)
        return None
