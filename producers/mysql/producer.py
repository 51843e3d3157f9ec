"""The MySQL producer: an initial snapshot, then the binary log, from wherever the position says."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from pydantic import BaseModel

from sorbus.connector import Batch, BoundSource, BoundSystem, Change, Position, RejectedRecord, Step
from sorbus.diagnosis import Diagnosis
from sorbus.errors import AuthError, LostPosition, PermanentError, TransientError
from sorbus.mysql.connection import Session, mysql_errors
from sorbus.mysql.discovery import MysqlDiscovery, connection_of
from sorbus.producers.mysql.capture import MysqlCapture, open_captures, table_names
from sorbus.producers.mysql.collect import LogCollector
from sorbus.producers.mysql.dependents import Writers, read_dependents, read_writers
from sorbus.producers.mysql.diagnose import diagnose_source
from sorbus.producers.mysql.history import history_fault, position_fault
from sorbus.producers.mysql.log_events import BadEvent, LogEvent
from sorbus.producers.mysql.log_stream import LogStream
from sorbus.producers.mysql.options import MysqlSource
from sorbus.producers.mysql.plan import plan_source, source_warnings
from sorbus.producers.mysql.position import MysqlPosition
from sorbus.producers.mysql.record_reader import ReadRecord, RecordReader
from sorbus.producers.mysql.scan import read_record, record_ids, scan_records
from sorbus.producers.mysql.server import MysqlServer, executed, read_charsets, read_server, server_faults
from sorbus.producers.mysql.snapshot import MysqlSnapshot, is_due
from sorbus.producers.mysql.snapshot_point import begin_after
from sorbus.producers.mysql.statement_targets import Captured
from sorbus.producers.mysql.table_keys import KeyTexts
from sorbus.producers.record_keys import record_key
from sorbus.producers.requested_records import RequestedRecords

_KEYS_AT_ONCE = 500
_MOVE_ON = 5.0
"""Seconds after which a position is stored though nothing of ours has changed."""
_SETTLE = 10.0
"""Seconds for which a snapshot that the log asks for waits for more that ask for it, unless all is read."""
_log = logging.getLogger(__name__)


class MysqlProducer(MysqlDiscovery):
    """Captures tables of one server, as a replica does."""

    Source: type[BaseModel] = MysqlSource

    def __init__(self, system: BoundSystem, sources: Sequence[BoundSource]) -> None:
        self._system, self._sources = system, sources
        self._connection = connection_of(system)
        self._session: Session | None = None
        self._server: MysqlServer | None = None
        self._captures: list[MysqlCapture] = []
        self._state: MysqlPosition | None = None
        self._snapshot: MysqlSnapshot | None = None
        self._stream: LogStream | None = None
        self._collector: LogCollector | None = None
        self._held: LogEvent | None = None
        self._requested = RequestedRecords()
        self._floors: dict[str, int] = {}
        self._stored = ""
        self._stored_at = self._asked_at = 0.0

    @classmethod
    def plan(cls, system: BoundSystem, sources: Sequence[BoundSource]) -> list[Step]:
        """What a person has to change on the server before its producer can run."""
        return plan_source(system, sources)

    @classmethod
    def source_warnings(cls, system: BoundSystem, sources: Sequence[BoundSource]) -> list[str]:
        """What will be slow, or become dead letters: see `plan.py`."""
        return source_warnings(system, sources)

    @classmethod
    def diagnose(cls, system: BoundSystem) -> Iterator[Diagnosis]:
        """How the server is: see `diagnose.py`."""
        return diagnose_source(system)

    @classmethod
    def position_fault(cls, system: BoundSystem, stored: Callable[[], Position | None]) -> str | None:
        """Whether the log can be read on from a position: see `history.py`."""
        return position_fault(system, stored)

    @classmethod
    def ids(cls, system: BoundSystem, source: BoundSource) -> Iterable[bytes]:
        """Every record's id."""
        return record_ids(system, source)

    @classmethod
    def scan(cls, system: BoundSystem, source: BoundSource) -> Iterator[Sequence[Change | RejectedRecord]]:
        """Every record, read in one snapshot."""
        return scan_records(system, source)

    @classmethod
    def read_record(cls, system: BoundSystem, source: BoundSource, id: str) -> bytes | None:
        """One record by its key."""
        return read_record(system, source, id)

    @classmethod
    def resources_of(cls, options: BaseModel) -> dict[str, str]:
        """The record's table and its list fields' tables."""
        assert isinstance(options, MysqlSource)
        return {"": options.table, **{name: child.table for name, child in options.children.items()}}

    def take_over(self, floors: Mapping[str, int]) -> None:
        """These data types are snapshotted again, above these versions, and their stale records deleted."""
        self._floors = dict(floors)

    def open(self, position: Position | None) -> None:
        """Connects and prepares the snapshot or the log. LostPosition says what to do; never skips."""
        session = self._session = Session(self._connection, "produce")
        with mysql_errors(f"opening {self._system.name}"):
            server = self._server = read_server(session)
            if faults := server_faults(session, server):
                raise AuthError(f"{self._system.name} can't be captured yet: {'; '.join(map(str, faults))}")
            state = None if not position else MysqlPosition.from_position(position)
            self._captures = open_captures(session, self._system, self._sources, state.tables if state else None)
            if state is not None:
                state = self._resumed(session, server, state.without_others([one.name for one in self._sources]))
        self._state = state

    def _resumed(self, session: Session, server: MysqlServer, state: MysqlPosition) -> MysqlPosition:
        if lost := history_fault(server, state, executed(session, server)):
            state = self._after_loss(state, lost)
        elif state.server != server.identity:  # each numbers its own files, and divides rows into events in its own way
            state = replace(state, server=server.identity, file="", end=0, done=0)
        return self._settled(state.snapshotting(list(self._floors)))

    def _settled(self, state: MysqlPosition) -> MysqlPosition:
        """The state, in which data types whose tables or mapping are others than before are snapshotted again."""
        begun = {*state.copied, *([state.copying.data_type] if state.copying else [])}
        changed = [
            one.name
            for one in self._captures
            if one.name in begun
            and (state.tables.get(one.name) != one.signatures() or state.meaning.get(one.name) != one.meaning())
        ]
        if changed:
            _log.info("%s: tables or mapping of %s have changed", self._system.name, ", ".join(changed))
        return state.snapshotting(changed) if changed else state

    def _after_loss(self, state: MysqlPosition, lost: str) -> MysqlPosition:
        """The state that snapshots everything again, if the map says so; LostPosition with advice otherwise."""
        if self._system.system.on_lost_slot == "stop":
            raise LostPosition(
                f"{self._system.name}: {lost}. Changes may be lost: to read everything again, write `on_lost_slot:"
                " resnapshot` for the system, and restart its producer"
            )
        _log.warning("%s: %s; everything is snapshotted again", self._system.name, lost)
        server, session = self._server, self._session
        assert server is not None
        assert session is not None
        now = executed(session, server)
        return replace(
            state, is_mariadb=server.is_mariadb, server=server.identity, gtids=now, before=None, last="", last_at=0,
            transaction="", transaction_at=0, done=0, fresh={}, copying=None, prepared={}, file="", end=0,
        ).snapshotting([one.name for one in self._captures])  # fmt: skip

    def reread(self, data_type: str, ids: Sequence[bytes]) -> None:
        """Reads these records by key as soon as the log is between two transactions."""
        self._requested.add(data_type, ids)

    def read(self, wait: float) -> Batch | None:
        """The next batch of a snapshot or the log; None when nothing came within `wait` seconds."""
        try:
            return self._read(wait)
        except PermanentError as error:  # of no record: a table has changed since it was looked at
            raise TransientError(f"{self._system.name}: {error}") from error

    def _read(self, wait: float) -> Batch | None:
        if self._snapshot is None and self._must_snapshot():
            self._end_stream()
            self._begin_snapshot()
        if self._snapshot is not None:
            batch = self._snapshot.read()
            self._state = self._snapshot.state
            if batch is not None:
                return batch
            self._snapshot = None
            self._floors = {}
        if self._stream is None:
            self._begin_stream()
        try:
            return self._from_log(wait)
        except (LostPosition, BadEvent) as error:
            assert self._state is not None
            self._end_stream()
            with mysql_errors(f"opening {self._system.name}"):
                self._state = self._after_loss(self._state, str(error))
            return self._read(wait)

    def _must_snapshot(self) -> bool:
        state = self._state
        if state is None:
            return True
        if not is_due(state, self._captures):
            return False
        if self._stream is None or self._stream.is_empty:
            return True
        self._asked_at = self._asked_at or time.monotonic()
        return time.monotonic() - self._asked_at > _SETTLE

    def _begin_snapshot(self) -> None:
        assert self._session is not None
        assert self._server is not None
        self._asked_at = 0.0
        floor = max(time.time_ns() // 1000, *self._floors.values(), 0)
        owed = tuple(self._floors)
        self._snapshot = MysqlSnapshot(self._session, self._server, self._captures, self._state, floor, owed)

    def _begin_stream(self) -> None:
        session, state = self._session, self._state
        assert session is not None
        assert state is not None
        with mysql_errors(f"opening {self._system.name}"):
            dependents = read_dependents(session, table_names(self._captures))
            captured = Captured(self._captures, dependents, self._writers())
            charsets = read_charsets(session)
        start = state.before if state.before is not None and str(state.before) else state.gtids
        self._stream = LogStream(self._connection, self._system.name, self._system.topic_prefix, start)
        self._collector = LogCollector(captured, state, charsets, self._fetch, self._writers)
        self._held = None

    def _end_stream(self) -> None:
        if self._stream is not None:
            self._stream.close()
        self._stream = self._collector = None
        self._held = None

    def _from_log(self, wait: float) -> Batch | None:
        stream, collector = self._stream, self._collector
        assert stream is not None
        assert collector is not None
        deadline = time.monotonic() + wait
        while not collector.is_full and not collector.altered:
            if self._requested and not collector.in_transaction:
                self._mark_requested(collector)
            event = self._held or stream.next(0.0 if collector.has_work else max(0.0, deadline - time.monotonic()))
            self._held = None
            if event is None:
                if collector.has_work or time.monotonic() >= deadline:
                    break
                continue
            if not collector.feed(event):
                self._held = event
                break
            if time.monotonic() >= deadline:
                break
        return self._taken(stream, collector)

    def _taken(self, stream: LogStream, collector: LogCollector) -> Batch | None:
        has_work = collector.has_work
        taken = collector.take()
        self._state = collector.state
        if collector.altered:
            self._refresh(collector)
        caught_up = stream.is_empty and self._held is None and not collector.in_transaction
        position = self._state.to_position()
        text = str(position["gtids"])
        now = time.monotonic()
        if not has_work and (text == self._stored or now - self._stored_at < _MOVE_ON):
            return None
        self._stored, self._stored_at = text, now
        return Batch(taken.changes, taken.rejects, taken.sweeps, position, caught_up, None, taken.resolved)

    def _refresh(self, collector: LogCollector) -> None:
        """Tables may look otherwise: what is read by key comes as they are now. MapError."""
        collector.altered.clear()
        assert self._session is not None
        assert self._state is not None
        with mysql_errors(f"looking at the tables of {self._system.name}"):
            self._captures = open_captures(self._session, self._system, self._sources, self._state.tables)
        self._state = self._settled(self._state)
        self._end_stream()

    def _mark_requested(self, collector: LogCollector) -> None:
        data_type, ids = self._requested.take()
        for capture in self._captures:
            if capture.name == data_type:
                keys = [record_key(id, len(capture.key)) for id in ids]
                texts = [_texts(key) for key in keys if key is not None]
                collector.again(data_type, [key for key in texts if key is not None])

    def _fetch(self, capture: MysqlCapture, keys: Sequence[KeyTexts]) -> Iterator[ReadRecord]:
        session, server, collector = self._session, self._server, self._collector
        assert session is not None
        assert server is not None
        assert collector is not None
        with mysql_errors(f"reading {capture.name} by key"):
            begin_after(session, server, collector.told)
            try:
                reader = RecordReader(session, capture)
                for at in range(0, len(keys), _KEYS_AT_ONCE):
                    yield from reader.by_key(keys[at : at + _KEYS_AT_ONCE])
            finally:
                session.execute("rollback")

    def _writers(self) -> Writers:
        assert self._session is not None
        with mysql_errors(f"looking at the views and triggers of {self._system.name}"):
            return read_writers(self._session, {database for database, _ in table_names(self._captures)})

    def confirm(self, position: Position) -> None:
        """The server keeps its log for as long as it is set to, whatever has been read."""

    def resnapshot(self, data_types: Sequence[str]) -> None:
        """Snapshots these data types again, between this batch and the next."""
        if self._state is not None:
            self._state = self._state.snapshotting(list(data_types))
        self._end_stream()

    def lag(self) -> int | None:
        """Bytes of the log from our place to its end; None where that can't be told."""
        state, session = self._state, self._session
        if state is None or session is None or not state.file:
            return None
        with mysql_errors("measuring the lag"):
            rows = [(str(row[0]), int(str(row[1]))) for row in session.query("show binary logs")]
        names = [name for name, _ in rows]
        if state.file not in names:
            return None
        return max(0, sum(size for _, size in rows[names.index(state.file) :]) - state.end)

    def close(self) -> None:
        """Leaves the server; nothing is confirmed."""
        self._end_stream()
        if self._session is not None:
            self._session.close()
        self._session = self._snapshot = self._state = None
        self._requested.clear()


def _texts(key: tuple[bytes | None, ...]) -> KeyTexts | None:
    try:
        return tuple((part or b"").decode() for part in key)
    except UnicodeDecodeError:
        return None
