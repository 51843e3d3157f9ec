"""The PostgreSQL producer: a consistent initial snapshot, then the stream, from wherever the position says."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from pydantic import BaseModel

from sorbus.abilities import NullCount, Resource
from sorbus.connector import Batch, BoundSource, BoundSystem, Position, Step
from sorbus.diagnosis import Diagnosis
from sorbus.drift.watch import DriftWatch
from sorbus.errors import LostPosition, TransientError
from sorbus.mapfile.timing import parse_duration
from sorbus.postgres.catalog import discover_tables
from sorbus.postgres.connection import Connection as Session
from sorbus.postgres.connection import PostgresConnection, connect, postgres_errors
from sorbus.postgres.diagnose import diagnose_server
from sorbus.postgres.location import location
from sorbus.postgres.nulls import count_nulls
from sorbus.postgres.sample import sample_rows
from sorbus.producers.postgres.capture import Capture, Key, MissingTables, open_captures
from sorbus.producers.postgres.collect import Collector
from sorbus.producers.postgres.encoding import connect_reading, read_natively
from sorbus.producers.postgres.fetch import Fetched, KeyReader
from sorbus.producers.postgres.ids import record_ids
from sorbus.producers.postgres.keys import record_key
from sorbus.producers.postgres.options import PostgresSource
from sorbus.producers.postgres.pgoutput import Keepalive, decode_frame
from sorbus.producers.postgres.plan import plan_source
from sorbus.producers.postgres.position import PostgresPosition
from sorbus.producers.postgres.server import Server, another_database, another_history, not_accepted, read_server
from sorbus.producers.postgres.slot import (
    ExportedSnapshot,
    SlotMaking,
    advice,
    connect_replication,
    drop_slot,
    loss,
    read_slot,
    slot_name,
)
from sorbus.producers.postgres.snapshot import Snapshotter
from sorbus.producers.postgres.source_watch import SourceWatch
from sorbus.producers.postgres.stream import ReplicationStream
from sorbus.producers.postgres.warnings import source_warnings

_IDLE_STORE = _LOOK_EVERY = 10.0
_AT_ONCE = 1000
_log = logging.getLogger(__name__)


class PostgresProducer:
    """Captures one database. One slot and one publication, both called sorbus_SYSTEM."""

    Connection: type[BaseModel] = PostgresConnection
    Source: type[BaseModel] = PostgresSource

    def __init__(self, system: BoundSystem, sources: Sequence[BoundSource]) -> None:
        assert isinstance(system.connection, PostgresConnection)
        self._system, self._sources = system, sources
        self._connection = system.connection
        self._name = slot_name(system)
        beat = system.system.heartbeat
        self._heartbeat = None if beat == "off" else parse_duration(beat)
        self._side: Session | None = None
        self._replication: Session | None = None
        self._stream: ReplicationStream | None = None
        self._collector: Collector | None = None
        self._copy: Snapshotter | None = None
        self._captures: list[Capture] = []
        self._drift: DriftWatch | None = None
        self._again: dict[str, dict[bytes, None]] = {}
        self._floors: dict[str, int] = {}
        self._held: bytes | None = None
        self._wal_end = 0
        self._watch: SourceWatch | None = None
        self._server: Server | None = None
        self._stored_at = self._beaten_at = self._looked_at = time.monotonic()

    @classmethod
    def plan(cls, system: BoundSystem, sources: Sequence[BoundSource]) -> list[Step]:
        """What has to change in the database before its producer can run."""
        return plan_source(system, sources)

    @classmethod
    def source_warnings(cls, system: BoundSystem, sources: Sequence[BoundSource]) -> list[str]:
        """Rows that will become dead letters: see `warnings.py`."""
        return source_warnings(system, sources)

    @classmethod
    def diagnose(cls, system: BoundSystem) -> Iterator[Diagnosis]:
        """How the server is: see `sorbus/postgres/diagnose.py`."""
        assert isinstance(system.connection, PostgresConnection)
        return diagnose_server(system.name, system.connection, slots=True)

    @classmethod
    def discover(cls, system: BoundSystem) -> list[Resource]:
        """Every table of the database."""
        return discover_tables(system)

    @classmethod
    def location(cls, system: BoundSystem, *, ask: bool = False) -> str | None:
        """Which database it is."""
        assert isinstance(system.connection, PostgresConnection)
        return location(system.connection, ask=ask)

    @classmethod
    def count_nulls(cls, system: BoundSystem, columns: dict[str, list[str]]) -> dict[tuple[str, str], NullCount]:
        """Rows without a value, of tables' columns."""
        assert isinstance(system.connection, PostgresConnection)
        return count_nulls(system.connection, columns)

    @classmethod
    def sample(cls, system: BoundSystem, resource: str, limit: int) -> list[dict[str, object]]:
        """A few rows of a table."""
        assert isinstance(system.connection, PostgresConnection)
        return sample_rows(system.connection, resource, limit)

    @classmethod
    def ids(cls, system: BoundSystem, source: BoundSource) -> Iterator[bytes]:
        """Every record's id, from its key alone."""
        return record_ids(system, source)

    @classmethod
    def resources_of(cls, options: BaseModel) -> dict[str, str]:
        """The record's table and its list fields' tables."""
        assert isinstance(options, PostgresSource)
        return {"": options.table, **{name: child.table for name, child in options.children.items()}}

    def take_over(self, floors: Mapping[str, int]) -> None:
        """These data types are copied anew, above these versions, and swept."""
        self._floors = dict(floors)

    def open(self, position: Position | None) -> None:
        """Connects and prepares the initial snapshot or the stream. LostPosition says what to do; never skips."""
        side = self._side = connect(self._connection, "producer", autocommit=True)
        with postgres_errors(f"opening {self._system.name}"):
            self._server = read_server(side, f"opening {self._system.name}")
            state = None if position is None else PostgresPosition.from_position(position).above(self._floors)
            other = None if state is None else another_database(state, self._server)
            if state is not None and other is not None:
                state = self._accepted(state, other)
            self._drift = self._drift or DriftWatch.of(self._system.name, self._system.topic_prefix)
            try:
                self._captures = open_captures(side, self._sources)
            except MissingTables as error:
                for data_type, table in error.missing:
                    self._drift.gone(data_type, table)
                raise
            self._look(state)
            self._watch = SourceWatch(side, self._name, self._captures)
            self._looked_at = time.monotonic()
            slot = read_slot(side, self._name)
            if state is not None:
                if other is not None:
                    slot = None
                elif lost := self._history(state) or loss(state, slot, self._name) or self._set_anew(state):
                    state, slot = self._after_loss(state, lost), None
                else:
                    state = self._copying_lapsed(side, self._with_new_meaning(state))
                    state = replace(state, confirmed=slot.confirmed if slot is not None else 0)
        if state is None or slot is None:
            self._begin_anew(side, state)
            return
        try:
            self._go_on(state, min(state.lsn, slot.confirmed))
        except LostPosition as error:  # the slot is there, but the server has invalidated it
            self._begin_anew(side, self._after_loss(state, str(error)))

    def reread(self, data_type: str, ids: Sequence[bytes]) -> None:
        """Reads these records by key as soon as the stream is between two transactions."""
        self._again.setdefault(data_type, {}).update(dict.fromkeys(ids))

    def read(self, wait: float) -> Batch | None:
        """The next batch of the initial snapshot or the stream; None when nothing came within `wait` seconds.

        Unfinished while the initial snapshot waits for other people's transactions and locks.
        """
        if self._copy is not None:
            batch = self._copy.read(wait)
            if self._copy.state is None:
                return batch
            self._start_stream(self._copy.state)
            self._copy = None
        try:
            return self._read_stream(wait)
        except LostPosition as error:
            assert self._side is not None
            assert self._collector is not None
            self._begin_anew(self._side, self._after_loss(self._collector.state, str(error)))
            return self.read(wait)

    def confirm(self, position: Position) -> None:
        """The slot may forget everything before the position's LSN."""
        if self._stream is not None and self._collector is not None:
            lsn = PostgresPosition.from_position(position).lsn
            self._stream.confirm(lsn)
            self._collector.state = replace(self._collector.state, confirmed=max(lsn, self._collector.state.confirmed))

    def resnapshot(self, data_types: Sequence[str]) -> None:
        """Copies these data types again, between this batch and the next."""
        assert self._collector is not None
        collector = self._collector
        collector.state = collector.state.copying_again(data_types)

    def lag(self) -> int | None:
        """Bytes of write-ahead log that the slot holds back; may be asked without `open`, by whoever watches."""
        if self._side is None:
            self._side = connect(self._connection, "watch", autocommit=True)
        with postgres_errors("measuring the slot's lag"):
            slot = read_slot(self._side, self._name)
        return None if slot is None else slot.lag

    def close(self) -> None:
        """Leaves the slot where it is; nothing is confirmed."""
        if self._copy is not None:
            self._copy.close()
        self._copy = self._stream = None
        self._again.clear()
        if self._drift is not None:
            self._drift.close()
            self._drift = None
        for session in (self._replication, self._side):
            if session is not None:
                session.close()
        self._replication = self._side = None

    def _look(self, state: PostgresPosition | None) -> None:
        """Compares the tables with what they were when they were last looked at."""
        for capture in self._captures:
            if state is not None:
                capture.remember(state.named.get(capture.name, {}))
            capture.drift = self._drift
            capture.look()

    def _named(self) -> dict[str, dict[str, list[str]]]:
        return {capture.name: found for capture in self._captures if (found := capture.named())}

    def _history(self, state: PostgresPosition) -> str | None:
        """Why the server hasn't the history that the position was read from."""
        assert self._server is not None
        if state.timeline in (0, self._server.timeline):
            return another_history(state, self._server, None)
        with connect_replication(self._connection, self._name) as replication:
            return another_history(state, self._server, replication)

    def _set_anew(self, state: PostgresPosition) -> str | None:
        assert self._watch is not None
        tables = self._watch.set_anew(state)
        return tables and f"its publication {self._name} was recreated or changed, or was for a while without {tables}"

    def _look_again(self, side: Session, state: PostgresPosition) -> PostgresPosition:
        """Whether the stream still tells everything; with what the server has rewritten in silence due to be copied."""
        assert self._watch is not None
        with postgres_errors(f"looking at the tables of {self._system.name}"):
            for capture in self._captures:
                capture.refresh(side)
                if tuple(capture.key) != capture.key_now:
                    raise TransientError(f"the primary key of {capture.table.name} has changed")
            self._watch.look(side)
            if self._watch.set_anew(state):  # `open` knows what to do
                raise TransientError(f"the publication {self._name} has changed")
            return self._copying_lapsed(side, state)

    def _copying_lapsed(self, side: Session, state: PostgresPosition) -> PostgresPosition:
        """Data types whose rows may not be what the stream has said of them are copied again, and no other."""
        assert self._watch is not None
        lapsed = self._watch.lapsed(side, state)
        for name, why in lapsed.items():
            _log.warning("%s: snapshotting %s again: %s", self._system.name, name, why)
        return self._remembering(state.copying_again(lapsed))

    def _remembering(self, state: PostgresPosition) -> PostgresPosition:
        """The state with what it was read with."""
        assert self._watch is not None
        assert self._server is not None
        meaning = {capture.name: capture.meaning() for capture in self._captures}
        state = replace(self._watch.remembered(state), named=self._named(), meaning=meaning)
        server = self._server
        return replace(state, server=server.name, timeline=server.timeline, database=server.database)

    def _accepted(self, state: PostgresPosition, other: str) -> PostgresPosition:
        """The state that copies everything from another database, if the map names it; LostPosition otherwise."""
        assert self._server is not None
        if self._system.system.accept_source != self._server.identity:
            raise LostPosition(not_accepted(other, self._server, self._system.name))
        _log.warning("%s: %s; accepted by the map", self._system.name, other)
        return state.copying_all()

    def _after_loss(self, state: PostgresPosition, lost: str) -> PostgresPosition:
        """The state that copies everything again, if the map says so; LostPosition with advice otherwise."""
        if self._system.system.on_lost_slot == "stop":
            raise LostPosition(advice(lost, self._system.name))
        return state.copying_all()

    def _with_new_meaning(self, state: PostgresPosition) -> PostgresPosition:
        """Every record of a data type of which the map makes something else now is published again."""
        now = {capture.name: capture.meaning() for capture in self._captures}
        changed = [name for name, meaning in now.items() if state.meaning.get(name, meaning) != meaning]
        if changed:
            _log.info("%s: mapping of %s changed: snapshotting again", self._system.name, ", ".join(changed))
        return state.copying_again(changed)

    def _begin_anew(self, side: Session, state: PostgresPosition | None) -> None:
        server = self._server
        assert server is not None
        ending = None
        if self._replication is not None:
            ending = self._replication.info.backend_pid if not self._replication.closed else None
            self._replication.close()
            self._replication = self._stream = None
        drop_slot(side, self._name, ending)

        def begin(snapshot: ExportedSnapshot) -> PostgresPosition:
            point = snapshot.consistent_point
            found = self._remembering(state or PostgresPosition(server.name, point, point).above(self._floors))
            return replace(
                found,
                server=server.name,
                lsn=point,
                version=max(found.version, point),
                transaction=0,
                done=0,
                fresh={},
                commit=None,
                confirmed=point,
            )

        self._begin_copy(SlotMaking(self._connection, self._name, temporary=False), begin)

    def _go_on(self, state: PostgresPosition, start: int = sys.maxsize) -> None:
        """`start`: where the slot is, if that may be before our position."""
        names = {capture.name for capture in self._captures}
        if self._replication is not None:
            self._replication.close()
            self._replication = self._stream = None
        if state.copying or state.resnapshot or names - set(state.copied):
            making = SlotMaking(self._connection, f"{self._name[:55]}_copy", temporary=True)
            self._begin_copy(making, lambda _: state)
        else:
            self._start_stream(state, start)

    def _begin_copy(self, making: SlotMaking, begin: Callable[[ExportedSnapshot], PostgresPosition]) -> None:
        self._replication = making.session
        self._copy = Snapshotter(self._connection, self._captures, making, begin, self._expected, self._settled)

    def _settled(self, capture: Capture, state: PostgresPosition) -> None:
        """TransientError where a table was rewritten while it was copied: to its snapshot it may have looked empty."""
        assert self._side is not None
        assert self._watch is not None
        with postgres_errors(f"looking at the tables of {capture.name}"):
            self._watch.look(self._side)
            if why := self._watch.lapsed(self._side, state).get(capture.name):
                raise TransientError(f"{capture.name} needs a new snapshot: {why}")

    def _start_stream(self, state: PostgresPosition, start: int = sys.maxsize) -> None:
        if self._replication is not None:
            self._replication.close()
        self._replication = connect_replication(self._connection, self._name)
        with postgres_errors("connecting for replication"):
            encoding = read_natively(self._replication)
        start = min(start, state.lsn)
        self._stream = ReplicationStream(self._replication, self._name, self._name, start)
        self._collector = Collector(self._captures, state, self._fetch, self._refresh, start, encoding)
        self._held, self._wal_end = None, 0

    def _fetch(
        self, capture: Capture, keys: Sequence[Key], part: str, after: Collection[int]
    ) -> Iterator[tuple[Key, Fetched | None]]:
        self._refresh(capture)
        session, encoding = connect_reading(self._connection, "fetch")
        with session, postgres_errors(f"reading {capture.name} by key"):
            session.execute("set lock_timeout = '20s'")  # a lock that somebody holds shows as what it is
            session.commit()
            yield from KeyReader(session, encoding, capture).fetch(keys, part, after)

    def _refresh(self, capture: Capture) -> None:
        assert self._side is not None
        with postgres_errors(f"looking at the tables of {capture.name}"):
            capture.refresh(self._side)

    def _read_again(self, collector: Collector) -> None:
        """Some of the records that somebody wants to have read again."""
        by_name = {capture.name: capture for capture in self._captures}
        data_type, ids = next(iter(self._again.items()))
        some = [id for id, _ in zip(ids, range(_AT_ONCE), strict=False)]
        for id in some:
            del ids[id]
        if not ids:
            del self._again[data_type]
        if (capture := by_name.get(data_type)) is not None:
            found = (record_key(id, len(capture.key)) for id in some)
            collector.again(capture, [key for key in found if key is not None])

    def _expected(self, capture: Capture) -> int:
        assert self._side is not None
        row = self._side.execute(
            "select greatest(reltuples, 0)::bigint from pg_class where oid = %s", (capture.table.oid,)
        ).fetchone()
        return int(str(row[0])) if row else 0

    def _read_stream(self, wait: float) -> Batch | None:
        stream, collector = self._stream, self._collector
        assert stream is not None
        assert collector is not None
        if collector.state.resnapshot:
            assert self._side is not None
            self._go_on(self._look_again(self._side, collector.state))
            return self.read(wait)
        if self._again and not collector.in_transaction and not collector.has_work:
            self._read_again(collector)
        if time.monotonic() - self._looked_at > _LOOK_EVERY:
            assert self._side is not None
            collector.state = self._look_again(self._side, collector.state)
            self._looked_at = time.monotonic()
            if collector.state.resnapshot:
                return Batch((), (), (), collector.state.to_position(), False)
        deadline = time.monotonic() + wait
        caught_up = False
        while not collector.is_full:
            frame = self._held or stream.next()
            self._held = None
            if frame is None:
                if collector.has_work and not collector.in_transaction:
                    caught_up = True
                    break
                if (left := deadline - time.monotonic()) <= 0 and not collector.in_transaction:
                    return self._idle(stream, collector)
                stream.wait(min(max(left, 0.05), 1.0))
                stream.keep_alive()
            elif frame[0] == 119 and len(frame) > 25:  # w: XLogData
                message = frame[25:]
                if not collector.feed(message):
                    self._held = frame
                    break
            else:
                self._heard(stream, collector, decode_frame(frame))
        changes, rejects, sweeps, resolved = collector.take()
        self._stored_at = time.monotonic()
        position = collector.state.to_position()
        return Batch(changes, rejects, sweeps, position, caught_up, resolved=resolved)

    def _heard(self, stream: ReplicationStream, collector: Collector, frame: object) -> None:
        if isinstance(frame, Keepalive):
            if not collector.in_transaction:
                self._wal_end = frame.end
            if frame.must_reply:
                stream.keep_alive(at_once=True)

    def _idle(self, stream: ReplicationStream, collector: Collector) -> Batch | None:
        """Nothing to publish: keep the slot moving, so that an idle or filtered source doesn't hold its log back.

        The position goes to the bus first and only then to the slot; so a slot that is ahead of our position has been
        moved by somebody else, and changes are missing.
        """
        stream.keep_alive()
        now = time.monotonic()
        if self._heartbeat is not None and now - self._beaten_at > self._heartbeat:
            assert self._side is not None
            self._beaten_at = now
            with postgres_errors("emitting a heartbeat"):
                self._side.execute("select pg_logical_emit_message(false, 'sorbus', '')")
        lsn = max(self._wal_end, collector.state.lsn)
        collector.reached(self._wal_end)
        if lsn > stream.flushed and now - self._stored_at > _IDLE_STORE:
            self._stored_at = now
            collector.state = replace(collector.state, lsn=lsn)
            return Batch((), (), (), collector.state.to_position(), True)
        return None
