"""The initial snapshot as batches: every data type that is due, from the snapshot of a slot that is made for it."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace

from sorbus.connector import Batch, Change, RejectedRecord, StaleRecordDeletion
from sorbus.errors import PermanentError, Unfinished
from sorbus.postgres.connection import PostgresConnection
from sorbus.producers.postgres.capture import Capture, Key
from sorbus.producers.postgres.collect import MAX_BYTES, MAX_CHANGES
from sorbus.producers.postgres.position import PostgresPosition, SnapshotProgress
from sorbus.producers.postgres.rewritten import Files
from sorbus.producers.postgres.slot import ExportedSnapshot, SlotMaking
from sorbus.producers.postgres.table_snapshot import TableSnapshot

_log = logging.getLogger(__name__)
_RECENT = 1000
"""Ids that are remembered where rows may share one: keys that the server takes for equal may be spelled otherwise."""
Steps = Generator[Batch | str, None, PostgresPosition]
"""Batches, and in between what it waits for; then the state to go on from."""


class Snapshotter:
    """Copies until `state` says where the stream goes on."""

    def __init__(
        self,
        connection: PostgresConnection,
        captures: Sequence[Capture],
        making: SlotMaking,
        begin: Callable[[ExportedSnapshot], PostgresPosition],
        expected: Callable[[Capture], int],
        settled: Callable[[Capture, PostgresPosition], None],
        files: Callable[[Capture], Files],
    ) -> None:
        """`begin` gives the state to begin with, once the slot is made; `expected` about how many records there are;
        `settled` raises TransientError where tables were rewritten: to an older snapshot they look empty. `files`:
        where their rows are now.
        """
        self.state: PostgresPosition | None = None
        self._connection, self._captures, self._making = connection, captures, making
        self._begin, self._expected, self._settled, self._files = begin, expected, settled, files
        self._wait = 0.0
        self._steps = self._copy_due()

    def read(self, wait: float) -> Batch | None:
        """The next batch; None at the end. Unfinished, after `wait` seconds, while the server lets us wait."""
        self._wait = wait
        try:
            step = next(self._steps)
        except StopIteration as end:
            self.state = end.value
            return None
        if isinstance(step, str):
            raise Unfinished(step, retry_after=0.0)
        return step

    def close(self) -> None:
        """Gives up; a slot that is not made yet isn't made any more."""
        self._steps.close()
        self._making.cancel()

    def _copy_due(self) -> Steps:
        while (snapshot := self._making.snapshot(self._wait)) is None:
            yield "its replication slot is not made yet: the server waits for current transactions to end"
        state = self._begin(snapshot)
        for capture in self._captures:
            again = capture.name in state.resnapshot
            if state.copying is None or state.copying.data_type != capture.name:
                if capture.name in state.copied and not again:
                    continue
                copying = SnapshotProgress(
                    capture.name, state.version + 1, sweep=again, snapshot=snapshot.consistent_point
                )
                state = replace(state, version=copying.version, copying=copying)
            state = yield from self._copy_one(capture, state, snapshot.name)
        return state

    def _records(
        self, capture: Capture, snapshot: str, after: Key | None, version: int, occurred_at: int
    ) -> Generator[str | tuple[Key | None, Sequence[Change | RejectedRecord]], None, None]:
        """The records, some at a time, and in between what it waits for. Where the server fails to compute a row (a
        generated column that divides by zero), what is left is read by key: that row alone is a reject.
        """
        last, by_key = after, False
        while True:
            copy = TableSnapshot(self._connection, snapshot, capture, last, by_key=by_key)
            try:
                while not copy.has_begun(self._wait):
                    yield f"the initial snapshot of {capture.name} has not begun: the server waits for a lock, or sorts"
                copy.check(self._files(capture))
                for key, made in copy.parts(version, occurred_at):
                    last = key or last
                    yield key, made
                return
            except PermanentError as error:
                if by_key:
                    raise
                _log.warning("%s; reading what is left of it record by record", error)
                by_key = True
            finally:
                copy.close()

    def _copy_one(self, capture: Capture, state: PostgresPosition, snapshot: str) -> Steps:
        copying = state.copying
        assert copying is not None
        now, expected = time.time_ns() // 1000, self._expected(capture)
        after = None if copying.after is None else tuple(None if t is None else t.encode() for t in copying.after)
        changes: list[Change] = []
        rejects: list[RejectedRecord] = []
        size, last = 0, after
        shares_keys = capture.shared_key is not None or bool(capture.members_of(capture.table).heirs)
        recent: dict[bytes, None] = {}
        with contextlib.closing(self._records(capture, snapshot, after, copying.version, now)) as steps:
            for step in steps:
                if isinstance(step, str):
                    yield step
                    continue
                key, part = step
                if shares_keys:  # the first of rows with one key stands for the record: one version is one event
                    part = _first_of_each(part, recent)
                for made in part:
                    if isinstance(made, Change):
                        changes.append(made)
                        size += len(made.data or b"")
                    else:
                        rejects.append(made)
                last = key or last
                if len(changes) + len(rejects) >= MAX_CHANGES or size >= MAX_BYTES:
                    copying = replace(
                        copying, after=_texts(last), records=copying.records + len(changes) + len(rejects)
                    )
                    state = replace(state, copying=copying)
                    progress = (capture.name, copying.records, max(expected, copying.records))
                    yield Batch(changes, rejects, (), state.to_position(), False, progress)
                    changes, rejects, size = [], [], 0
        self._settled(capture, state)
        records = copying.records + len(changes) + len(rejects)
        if copying.sweep and (changes or rejects):
            state = replace(state, copying=replace(copying, after=_texts(last), records=records))
            yield Batch(changes, rejects, (), state.to_position(), False, (capture.name, records, records))
            changes, rejects = [], []
        sweeps = (
            [StaleRecordDeletion(capture.name, copying.version, now, spares_rejected=True)] if copying.sweep else []
        )
        state = replace(
            state,
            copying=None,
            copied=tuple(dict.fromkeys((*state.copied, capture.name))),
            resnapshot=tuple(name for name in state.resnapshot if name != capture.name),
            fresh={**state.fresh, capture.name: copying.snapshot},
        )
        yield Batch(changes, rejects, sweeps, state.to_position(), False, (capture.name, records, records))
        return state


def _first_of_each(part: Sequence[Change | RejectedRecord], recent: dict[bytes, None]) -> list[Change | RejectedRecord]:
    """Those whose ids aren't among the `recent` ones, which they join: rows of one key follow each other."""
    found = []
    for made in part:
        if made.id not in recent:
            recent[made.id] = None
            found.append(made)
    for id in list(recent)[: len(recent) - _RECENT]:
        del recent[id]
    return found


def _texts(key: Key | None) -> tuple[str | None, ...] | None:
    return None if key is None else tuple(None if part is None else part.decode() for part in key)
