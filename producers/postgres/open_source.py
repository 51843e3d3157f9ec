"""An open source: its server and tables as they are now, and whether what was read before still holds there.

A position that the source no longer has is lost; a data type whose rows may not be what the stream has said of them is
snapshotted again. Neither is ever skipped.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.resources import files

from psycopg.errors import LockNotAvailable, UndefinedColumn, UndefinedObject, UndefinedTable

from sorbus.bus.names import Names
from sorbus.connector import BoundSource, BoundSystem, Position
from sorbus.drift.watch import DriftWatch
from sorbus.errors import LostPosition, TransientError
from sorbus.postgres.connection import Connection as Session
from sorbus.postgres.connection import PostgresConnection, connect, postgres_errors
from sorbus.producers.postgres.capture import Capture, Key, MissingTables, open_captures
from sorbus.producers.postgres.client_encoding import Encoding, connect_reading
from sorbus.producers.postgres.fetch import Fetched, KeyReader
from sorbus.producers.postgres.position import PostgresPosition
from sorbus.producers.postgres.rewritten import Files, files_seen
from sorbus.producers.postgres.server import (
    Server,
    another_database,
    another_history,
    make_durable,
    mark_log,
    not_accepted,
    read_server,
)
from sorbus.producers.postgres.slot import Slot, advice, connect_replication, loss, read_slot
from sorbus.producers.postgres.source_watch import SourceWatch
from sorbus.timing.duration import parse_duration

_LOOK_EVERY = 10.0
CHUNK_IDLE_MS = 3000
"""How long a chunk of a snapshot may hold its transaction open without reading, in milliseconds."""
_OLDEST_HERE = (files("sorbus.producers.postgres") / "open_transactions.sql").read_text()
_HOLDER = (files("sorbus.producers.postgres") / "transaction_holder.sql").read_text()
_log = logging.getLogger(__name__)


@contextmanager
def _looking(doing: str) -> Iterator[None]:
    """As `postgres_errors`; TransientError for what was dropped between two queries: the next look says what is so."""
    with postgres_errors(doing):
        try:
            yield
        except (UndefinedObject, UndefinedTable, UndefinedColumn) as error:
            raise TransientError(f"{doing}: it changed meanwhile: {error.diag.message_primary}") from error


class OpenSource:
    """A session that asks one database, beside those that read it. `slot`: the name of its slot and publication."""

    server: Server
    captures: Sequence[Capture]
    """These, and what was seen of them, are there after `resume`."""

    def __init__(self, system: BoundSystem, sources: Sequence[BoundSource], slot: str) -> None:
        """Connects. TransientError, AuthError."""
        assert isinstance(system.connection, PostgresConnection)
        self._system, self._sources, self._slot = system, sources, slot
        self._connection = system.connection
        self.names = Names(system.topic_prefix)
        beat = system.system.heartbeat
        self._heartbeat = None if beat == "off" else parse_duration(beat)
        self.session = connect(self._connection, "producer", autocommit=True, unhurried=True)
        self._reading: tuple[Session, Encoding] | None = None
        self._chunk_reading: tuple[Session, Encoding] | None = None
        self._drift: DriftWatch | None = None
        self._watch: SourceWatch
        self._looked_at = self._beaten_at = time.monotonic()
        self.is_look_overdue = False
        self.lapsed: Collection[str] = ()
        """Data types that the last look found to need a new snapshot."""

    def resume(
        self, position: Position | None, floors: Mapping[str, int]
    ) -> tuple[PostgresPosition | None, Slot | None]:
        """Where to resume, and the slot to resume from: None where all is snapshotted, with a new slot. LostPosition.

        `floors`: data types that are snapshotted again, above these versions.
        """
        with _looking(f"opening {self._system.name}"):
            self.server = read_server(self.session, f"opening {self._system.name}")
            state = None if position is None else PostgresPosition.from_position(position).above(floors)
            other = None if state is None else another_database(state, self.server)
            if state is not None and other is not None:
                state = self._accepted(state, other)
            self._open_captures(state)
            self._watch = SourceWatch(self.session, self._slot, self.captures)
            self._looked_at = time.monotonic()
            slot = read_slot(self.session, self._slot)
            if state is None:
                return None, None
            if other is not None:
                return state, None
            if lost := self._history(state) or loss(state, slot, self._slot) or self._changed_publication(state):
                return self.after_loss(state, lost), None
            state = self._resnapshotting_lapsed(self._with_new_meaning(state))
            return replace(state, confirmed=slot.confirmed if slot is not None else 0), slot

    def confirmed(self, state: PostgresPosition) -> int:
        """Where (an LSN) the slot that is streamed from begins. TransientError; LostPosition beyond the position."""
        with postgres_errors(f"looking at the replication slot {self._slot}"):
            slot = read_slot(self.session, self._slot)
        if slot is None or slot.confirmed > state.lsn:
            raise LostPosition(str(loss(state, slot, self._slot)))
        return slot.confirmed

    @property
    def is_look_due(self) -> bool:
        """Whether it is time to `look_again`."""
        return time.monotonic() - self._looked_at > _LOOK_EVERY

    def look_again(self, state: PostgresPosition) -> PostgresPosition:
        """Whether the stream still tells everything; what the server has rewritten in silence is to be snapshotted.

        TransientError where `resume` knows what to do. While another session locks a table for itself alone, that can't
        be seen: `is_look_overdue` then says so, and the stream doesn't wait for it.
        """
        self._looked_at = time.monotonic()
        with _looking(f"looking at the tables of {self._system.name}"):
            self.session.execute("set lock_timeout = '200ms'")
            try:
                state, self.is_look_overdue = self._look(state), False
            except LockNotAvailable:
                self.is_look_overdue = True
            self.session.execute("set lock_timeout = 0")
        return state

    def _look(self, state: PostgresPosition) -> PostgresPosition:
        for capture in self.captures:
            capture.refresh(self.session)
            if tuple(capture.key) != capture.key_now:
                raise TransientError(f"the primary key of {capture.table.name} has changed")
        self._watch.look(self.session)
        if self._watch.set_anew(state):
            raise TransientError(f"the publication {self._slot} has changed")
        return self._resnapshotting_lapsed(state)

    def check_snapshot(self, capture: Capture, state: PostgresPosition) -> None:
        """TransientError where a table was rewritten while it was read: to its snapshot it may have looked empty."""
        with _looking(f"looking at the tables of {capture.name}"):
            self._watch.look(self.session)
            if why := self._watch.lapsed(self.session, state).get(capture.name):
                raise TransientError(f"{capture.name} needs a new snapshot: {why}")

    def after_loss(self, state: PostgresPosition, lost: str) -> PostgresPosition:
        """The state that snapshots everything again, if the map says so; LostPosition with advice otherwise."""
        if self._system.system.on_lost_slot == "stop":
            raise LostPosition(advice(lost, self._system.name))
        return state.copying_all()

    def remembered(self, state: PostgresPosition) -> PostgresPosition:
        """The state with what it was read with."""
        meaning = {capture.name: capture.meaning() for capture in self.captures}
        named = {capture.name: found for capture in self.captures if (found := capture.named())}
        state = replace(self._watch.remembered(state).mapped(meaning), named=named)
        server = self.server
        return replace(state, server=server.name, timeline=server.timeline, database=server.database)

    def refresh(self, capture: Capture) -> None:
        """Reads from the catalog what a data type's tables are now."""
        with _looking(f"looking at the tables of {capture.name}"):
            capture.refresh(self.session)

    def files(self, capture: Capture) -> Files:
        """Where the rows of a data type's tables are now. TransientError."""
        with _looking(f"looking at the tables of {capture.name}"):
            return files_seen(self.session, capture)

    def fetch(
        self, capture: Capture, keys: Sequence[Key], part: str, after: Collection[int]
    ) -> Iterator[tuple[Key, Fetched | None]]:
        """Records by key, once the transactions `after` are visible, as they outlive a crash of the server."""
        self.refresh(capture)
        with self.reading() as (session, encoding), postgres_errors(f"reading {capture.name} by key"):
            reader = KeyReader(session, encoding, capture)
            found = list(reader.fetch(keys, part, after))
        self.make_durable(reader.log_end)
        yield from found

    def make_durable(self, lsn: str | None = None) -> None:
        """What others could read before an LSN (by now) outlives a crash of the server. TransientError."""
        with postgres_errors(f"waiting for the log of {self._system.name}"):
            make_durable(self.session, lsn)

    @contextmanager
    def reading(self) -> Iterator[tuple[Session, Encoding]]:
        """The session that reads rows by key: kept for the next time, unless something fails. TransientError."""
        opened, self._reading = self._reading, None
        if opened is None:
            opened = connect_reading(self._connection, "fetch")
            opened[0].execute("set lock_timeout = '20s'")  # a lock that somebody holds shows as what it is
            opened[0].commit()
        try:
            yield opened
            opened[0].rollback()
        except BaseException:
            opened[0].close()
            raise
        self._keep(opened)

    def chunk_session(self) -> tuple[Session, Encoding]:
        """A session that reads a chunk of a snapshot beside the stream, for as long as it takes. TransientError.

        It waits for locks without an end: nothing else waits for it.
        """
        opened, self._chunk_reading = self._chunk_reading, None
        if opened is None:
            opened = connect_reading(self._connection, "snapshot")
            opened[0].execute("set lock_timeout = 0")
            # Its lock must not outlast our attention: others may be waiting to alter or truncate the table.
            opened[0].execute(f"set idle_in_transaction_session_timeout = {CHUNK_IDLE_MS}")
            opened[0].commit()
        return opened

    def keep_chunk_session(self, opened: tuple[Session, Encoding]) -> None:
        """Keeps a session of `chunk_session` for the next time."""
        self._chunk_reading = opened

    def _xid(self, query: str) -> int:
        with postgres_errors(f"looking at the transactions of {self._system.name}"):
            row = self.session.execute(query).fetchone()
        assert row is not None
        return int(str(row[0]))

    def _keep(self, opened: tuple[Session, Encoding]) -> None:
        if self._reading is not None:
            self._reading[0].close()
        self._reading = opened

    def expected(self, capture: Capture) -> int:
        """About how many records a data type has."""
        row = self.session.execute(
            "select greatest(reltuples, 0)::bigint from pg_class where oid = %s", (capture.table.oid,)
        ).fetchone()
        return int(str(row[0])) if row else 0

    def next_xid(self) -> int:
        """A transaction (64-bit xid) before which all have begun that write anything by now. TransientError.

        It is used up: a snapshot shows no open one that is newer than all that have ended.
        """
        return self._xid("select pg_current_xact_id()::text")

    def oldest_open(self) -> int:
        """The oldest transaction (64-bit xid) that is open, or one that has not begun. TransientError."""
        return self._xid("select pg_snapshot_xmin(pg_current_snapshot())::text")

    def oldest_open_here(self) -> int:
        """As `oldest_open`, without transactions of other databases, which can't write to this one. TransientError.

        It looks at all locks of the server: to be asked seldom.
        """
        return self._xid(_OLDEST_HERE)

    def mark_log(self) -> int:
        """The end of the log (an LSN); the stream passes it soon, also when it is idle. TransientError."""
        with postgres_errors("marking the log"):
            return mark_log(self.session)

    def holder_of(self, xid: int) -> str:
        """Who has a transaction (64-bit xid) open, and what to do about it; "" where that can't be seen."""
        with postgres_errors(f"looking at the transactions of {self._system.name}"):
            row = self.session.execute(_HOLDER, {"xid": xid & 0xFFFFFFFF}).fetchone()
        return "" if row is None else str(row[0])

    def beat(self) -> None:
        """Moves an idle slot, now and then."""
        now = time.monotonic()
        if self._heartbeat is not None and now - self._beaten_at > self._heartbeat:
            self._beaten_at = now
            with postgres_errors("emitting a heartbeat"):
                self.session.execute("select pg_logical_emit_message(false, 'sorbus', '')")

    def close(self) -> None:
        """Disconnects."""
        if self._drift is not None:
            self._drift.close()
            self._drift = None
        for opened in (self._reading, self._chunk_reading):
            if opened is not None:
                opened[0].close()
        self._reading = self._chunk_reading = None
        self.session.close()

    def _open_captures(self, state: PostgresPosition | None) -> None:
        """Finds the tables, and compares them with what they were when they were last looked at."""
        drift = self._drift = DriftWatch.of(self._system.name, self._system.topic_prefix)
        try:
            self.captures = open_captures(self.session, self._sources)
        except MissingTables as error:
            for data_type, table in error.missing:
                drift.gone(data_type, table)
            raise
        for capture in self.captures:
            if state is not None:
                capture.remember(state.named.get(capture.name, {}))
            capture.drift = drift
            capture.look()

    def _history(self, state: PostgresPosition) -> str | None:
        """Why the server hasn't the history that the position was read from."""
        if state.timeline in (0, self.server.timeline):
            return another_history(state, self.server, None)
        with connect_replication(self._connection, self._slot) as replication:
            return another_history(state, self.server, replication)

    def _changed_publication(self, state: PostgresPosition) -> str | None:
        tables = self._watch.set_anew(state)
        return tables and f"its publication {self._slot} was recreated or changed, or was for a while without {tables}"

    def _resnapshotting_lapsed(self, state: PostgresPosition) -> PostgresPosition:
        """Data types whose rows may not be what the stream has said of them are snapshotted again, and no other."""
        self.lapsed = lapsed = self._watch.lapsed(self.session, state)
        for name, why in lapsed.items():
            _log.warning("%s: snapshotting %s again: %s", self._system.name, name, why)
        return self.remembered(state.copying_again(lapsed))

    def _accepted(self, state: PostgresPosition, other: str) -> PostgresPosition:
        """The state that snapshots everything of another database, if the map names it; LostPosition otherwise."""
        if self._system.system.accept_source != self.server.identity:
            raise LostPosition(not_accepted(other, self.server, self._system.name))
        _log.warning("%s: %s; accepted by the map", self._system.name, other)
        return state.copying_all()

    def _with_new_meaning(self, state: PostgresPosition) -> PostgresPosition:
        """Every record of a data type of which the map makes something else now is published again.

        Also of one that the map was without for a while, since nobody read its changes.
        """
        now = {capture.name: capture.meaning() for capture in self.captures}
        known = state.meaning or now  # a position of an earlier release has none
        changed = [name for name, meaning in now.items() if known.get(name) != meaning]
        if changed:
            _log.info("%s: mapping of %s is new: snapshotting again", self._system.name, ", ".join(changed))
        # A first snapshot of one that is new has nothing to sweep.
        return state.copying_again(name for name in changed if name in known or name in state.copied)
