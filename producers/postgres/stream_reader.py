"""Reading batches from the replication stream: frames in, changes collected, the slot kept moving while idle."""

from __future__ import annotations

import time
from dataclasses import replace

from sorbus.connector import Batch, StaleRecordDeletion
from sorbus.postgres.connection import Connection as Session
from sorbus.postgres.connection import postgres_errors
from sorbus.producers.postgres.client_encoding import read_natively
from sorbus.producers.postgres.collect import Collector
from sorbus.producers.postgres.incremental_snapshot import IncrementalSnapshot
from sorbus.producers.postgres.keys import record_key
from sorbus.producers.postgres.open_source import OpenSource
from sorbus.producers.postgres.pgoutput import Keepalive, decode_frame, mark_lsn
from sorbus.producers.postgres.position import PostgresPosition, SnapshotProgress
from sorbus.producers.postgres.requested_records import RequestedRecords
from sorbus.producers.postgres.stream import ReplicationStream

_IDLE_STORE = 10.0


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
        """`start`: where the slot is, if that may be before the position. TransientError, LostPosition."""
        self._source, self._requested, self._snapshot = source, requested, snapshot
        with postgres_errors("connecting for replication"):
            encoding = read_natively(replication)
        start = min(start, state.lsn)
        self._stream = ReplicationStream(replication, slot, slot, start)
        self._collector = Collector(source.captures, state, source.fetch, source.refresh, start, encoding)
        self._held: bytes | None = None
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

    @property
    def problem(self) -> str | None:
        """Why a snapshot beside the stream doesn't progress."""
        copying = self.state.copying
        if copying is not None and copying.is_paused:
            name = copying.data_type
            return f"the snapshot of {name} is paused; resume it: sorbus backfill {name} --resume"
        return self._snapshot.problem

    def confirm(self, lsn: int) -> None:
        """The slot may forget everything before this."""
        self._stream.confirm(lsn)
        self.state = replace(self.state, confirmed=max(lsn, self.state.confirmed))

    def read(self, wait: float) -> Batch | None:
        """The next batch; None when nothing came within `wait` seconds. TransientError, LostPosition."""
        stream, collector = self._stream, self._collector
        if self._requested and not collector.in_transaction and not collector.has_work:
            self._read_requested()
        if self._source.is_look_due:
            self.state = self._source.look_again(self.state)
        if self._may_read_chunk(is_idle=False):
            return self._read_chunk()
        deadline = time.monotonic() + wait
        caught_up = False
        while not collector.is_full:
            frame = self._held or stream.next()
            self._held = None
            if frame is None:
                if collector.has_work and not collector.in_transaction:
                    caught_up = True
                    break
                if self._may_read_chunk(is_idle=True):
                    return self._read_chunk()
                if (left := deadline - time.monotonic()) <= 0 and not collector.in_transaction:
                    return self._idle()
                stream.wait(min(max(left, 0.05), 1.0))
                stream.keep_alive()
            elif frame[0] == 119 and len(frame) > 25:  # w: XLogData
                if frame[25] == 77 and (mark := mark_lsn(frame[25:])) is not None:  # M
                    self._wal_end, self._is_marked = max(mark, self._wal_end), True
                    if not collector.has_work:
                        return self._idle()
                elif not collector.feed(frame[25:]):
                    self._held = frame
                    break
            else:
                self._answer(decode_frame(frame))
        changes, rejects, sweeps, resolved = collector.take()
        self._stored_at = time.monotonic()
        return Batch(changes, rejects, sweeps, self.state.to_position(), caught_up, resolved=resolved)

    def _read_requested(self) -> None:
        by_name = {capture.name: capture for capture in self._source.captures}
        data_type, ids = self._requested.take()
        if (capture := by_name.get(data_type)) is not None:
            found = (record_key(id, len(capture.key)) for id in ids)
            self._collector.again(capture, [key for key in found if key is not None])

    def _may_read_chunk(self, *, is_idle: bool) -> bool:
        is_between = not self._collector.in_transaction and not self._collector.has_work
        return is_between and self._snapshot.is_time(self.state, is_idle=is_idle)

    def _read_chunk(self) -> Batch:
        """The next chunk of the incremental snapshot that is due. TransientError, AuthError."""
        began, collector = time.monotonic(), self._collector
        progress = self.state.copying
        if progress is None:
            self.state = self._source.look_again(self.state)
            name = self._snapshot.due(self.state)
            if name is None or not self._snapshot.is_ready(name):  # another one is to be read first by now
                return Batch((), (), (), self.state.to_position(), False)
            is_again = name in self.state.resnapshot
            progress = SnapshotProgress(name, collector.new_version(), sweep=is_again, beside=True)
        chunk = self._snapshot.next(progress)
        collector.unkeyed(chunk.capture, chunk.unkeyed)
        collector.again(chunk.capture, chunk.keys, may_be_gone=False)
        changes, rejects, sweeps, resolved = collector.take()
        state, name = replace(self.state, copying=chunk.progress), progress.data_type
        if chunk.is_last and not (progress.sweep and chunk.keys):  # stale records go after the last that was read
            self._source.check_snapshot(chunk.capture, state)
            if progress.sweep and not progress.is_stale:
                now = time.time_ns() // 1000
                sweeps = [*sweeps, StaleRecordDeletion(name, progress.version, now, spares_rejected=True)]
            state = state.finished(progress)
        self.state = state
        self._stored_at = time.monotonic()
        size = sum(len(change.data or b"") for change in changes)
        self._snapshot.took(chunk, self._stored_at - began, size)
        told = self._snapshot.told(chunk)
        return Batch(changes, rejects, sweeps, state.to_position(), False, told, resolved)

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
        lsn = max(self._wal_end, self.state.lsn)
        self._collector.reached(self._wal_end)
        now = time.monotonic()
        if lsn > self._stream.flushed and (self._is_marked or now - self._stored_at > _IDLE_STORE):
            self._stored_at, self._is_marked = now, False
            self.state = replace(self.state, lsn=lsn)
            return Batch((), (), (), self.state.to_position(), True)
        return None
