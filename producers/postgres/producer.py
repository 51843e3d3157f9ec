"""The PostgreSQL producer: a consistent initial snapshot, then the stream, from wherever the position says."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from pydantic import BaseModel

from sorbus.checksums import ChecksumReader, ComparedPart, HashFunction
from sorbus.connector import Batch, BoundSource, BoundSystem, Change, Position, RejectedRecord, Step
from sorbus.diagnosis import Diagnosis
from sorbus.errors import LostPosition
from sorbus.postgres.connection import Connection as Session
from sorbus.postgres.connection import PostgresConnection, connect, postgres_errors
from sorbus.postgres.diagnose import diagnose_server
from sorbus.postgres.discovery import PostgresDiscovery
from sorbus.postgres.sample import sample_rows
from sorbus.producers.postgres.checksums import comparable, open_checksums
from sorbus.producers.postgres.ids import record_ids
from sorbus.producers.postgres.incremental_snapshot import IncrementalSnapshot
from sorbus.producers.postgres.open_source import OpenSource
from sorbus.producers.postgres.options import PostgresSource
from sorbus.producers.postgres.owner_lookup import read_record
from sorbus.producers.postgres.plan import plan_source
from sorbus.producers.postgres.position import PostgresPosition
from sorbus.producers.postgres.position_check import position_fault
from sorbus.producers.postgres.scan import scan_records
from sorbus.producers.postgres.server import mark_log
from sorbus.producers.postgres.slot import (
    ExportedSnapshot,
    SlotMaking,
    connect_replication,
    drop_slot,
    read_slot,
    slot_name,
)
from sorbus.producers.postgres.snapshot import Snapshotter
from sorbus.producers.postgres.snapshot_status import snapshots_of
from sorbus.producers.postgres.standby import diagnose_failover, keep_for_failover, standby_faults
from sorbus.producers.postgres.stream_reader import StreamReader
from sorbus.producers.postgres.warnings import source_warnings
from sorbus.producers.requested_records import RequestedRecords
from sorbus.snapshot_control import SnapshotAction, SnapshotStatus


class PostgresProducer(PostgresDiscovery):
    """Captures one database. One slot and one publication, both called sorbus_SYSTEM."""

    Source: type[BaseModel] = PostgresSource
    tells_deliveries = True

    def __init__(self, system: BoundSystem, sources: Sequence[BoundSource]) -> None:
        assert isinstance(system.connection, PostgresConnection)
        self._system, self._sources = system, sources
        self._connection = system.connection
        self._name = slot_name(system)
        self._source: OpenSource | None = None
        self._replication: Session | None = None
        self._reader: StreamReader | None = None
        self._copy: Snapshotter | None = None
        self._requested = RequestedRecords()
        self._floors: dict[str, int] = {}
        self._lag_session: Session | None = None

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
        yield from diagnose_server(system.name, system.connection, slots=True)
        yield from diagnose_failover(system)

    @classmethod
    def standby_faults(cls, system: BoundSystem) -> list[str] | None:
        """Whether its standbys could take over: see `standby.py`."""
        return standby_faults(system)

    @classmethod
    def position_fault(cls, system: BoundSystem, stored: Callable[[], Position | None]) -> str | None:
        """Whether the stream can continue: see `position_check.py`."""
        return position_fault(system, stored)

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
    def scan(cls, system: BoundSystem, source: BoundSource) -> Iterator[Sequence[Change | RejectedRecord]]:
        """Every record, read in one snapshot."""
        return scan_records(system, source)

    @classmethod
    def comparable(
        cls, system: BoundSystem, source: BoundSource, parts: Mapping[str, ComparedPart]
    ) -> dict[str, ComparedPart]:
        """What SQL can bring to the target's form: see `checksums.py`."""
        return comparable(system, source, parts)

    @classmethod
    def owner_checksums(
        cls, system: BoundSystem, source: BoundSource, parts: Mapping[str, ComparedPart], hashing: HashFunction
    ) -> ChecksumReader:
        """A reader of the owner's tables."""
        return open_checksums(system, source, parts, hashing)

    @classmethod
    def mark(cls, system: BoundSystem) -> int:
        """The end of the log now, which the stream will pass even if nothing else is written."""
        assert isinstance(system.connection, PostgresConnection)
        with connect(system.connection, "reconcile", autocommit=True) as session, postgres_errors("marking the log"):
            return mark_log(session)

    @classmethod
    def has_passed(cls, position: Position, mark: int, data_type: str) -> bool:
        """Whether everything that was committed before the mark is published."""
        return PostgresPosition.from_position(position).has_published(data_type, mark)

    @classmethod
    def read_record(cls, system: BoundSystem, source: BoundSource, id: str) -> bytes | None:
        """One record by its key."""
        return read_record(system, source, id)

    @classmethod
    def resources_of(cls, options: BaseModel) -> dict[str, str]:
        """The record's table and its list fields' tables."""
        assert isinstance(options, PostgresSource)
        return {"": options.table, **{name: child.table for name, child in options.children.items()}}

    def take_over(self, floors: Mapping[str, int]) -> None:
        """These data types are snapshotted again, above these versions, and their stale records deleted."""
        self._floors = dict(floors)

    def open(self, position: Position | None) -> None:
        """Connects and prepares the initial snapshot or the stream. LostPosition says what to do; never skips."""
        source = self._source = OpenSource(self._system, self._sources, self._name)
        state, slot = source.resume(position, self._floors)
        if state is None or slot is None:
            self._start_over(source, state)
            return
        try:
            self._resume(source, state, min(state.lsn, slot.confirmed))
        except LostPosition as error:  # the slot is there, but the server has invalidated it
            self._start_over(source, source.after_loss(state, str(error)))

    def reread(self, data_type: str, ids: Sequence[bytes]) -> None:
        """Reads these records by key as soon as the stream is between two transactions."""
        self._requested.add(data_type, ids)

    def read(self, wait: float) -> Batch | None:
        """The next batch of the initial snapshot or the stream; None when nothing came within `wait` seconds.

        Unfinished while the initial snapshot waits for other people's transactions and locks.
        """
        source = self._opened()
        if self._copy is not None:
            batch = self._copy.read(wait)
            if self._copy.state is None:
                return batch
            self._start_stream(source, self._copy.state)
            self._copy = None
        reader = self._reader
        assert reader is not None
        try:
            return reader.read(wait)
        except LostPosition as error:
            self._start_over(source, source.after_loss(reader.state, str(error)))
        return self.read(wait)

    def confirm(self, position: Position) -> None:
        """The slot may forget everything before the position's LSN."""
        if self._reader is not None:
            self._reader.confirm(PostgresPosition.from_position(position).lsn)

    def repeat_while(self, is_behind: Callable[[], bool]) -> None:
        """While `is_behind`, each batch ends with a commit, and nothing is read beside the stream."""
        if self._reader is not None:
            self._reader.repeat_while(is_behind)

    def resnapshot(self, data_types: Sequence[str]) -> None:
        """Snapshots these data types again, between this batch and the next."""
        assert self._reader is not None
        self._reader.state = self._reader.state.copying_again(data_types)

    @property
    def problem(self) -> str | None:
        """Why a snapshot beside the stream doesn't progress; None if nothing is wrong."""
        return None if self._reader is None else self._reader.problem

    def backfill(self, data_type: str, action: SnapshotAction, where: str = "") -> None:
        """Starts, pauses, resumes or cancels reading a data type beside the stream."""
        if self._reader is not None and any(source.name == data_type for source in self._sources):
            self._reader.requested(self._reader.state.controlled(data_type, action, where))

    @classmethod
    def snapshots(cls, position: Position, data_types: Sequence[str]) -> list[SnapshotStatus]:
        """The snapshots to come, of either kind, then the last that ended of those that people asked for."""
        return snapshots_of(PostgresPosition.from_position(position), data_types)

    def lag(self) -> int | None:
        """Bytes of write-ahead log that the slot holds back; may be asked without `open`, by whoever watches."""
        session = self._lag_session if self._source is None else self._source.session
        if session is None:
            session = self._lag_session = connect(self._connection, "watch", autocommit=True)
        with postgres_errors("measuring the slot's lag"):
            slot = read_slot(session, self._name)
        return None if slot is None else slot.lag

    def close(self) -> None:
        """Leaves the slot where it is; nothing is confirmed."""
        if self._copy is not None:
            self._copy.close()
        if self._reader is not None:
            self._reader.close()
        self._copy = self._reader = None
        self._requested.clear()
        for opened in (self._replication, self._source, self._lag_session):
            if opened is not None:
                opened.close()
        self._replication = self._source = self._lag_session = None

    def _end_stream(self) -> None:
        if self._reader is not None:
            self._reader.close()
        if self._replication is not None:
            self._replication.close()
        self._replication = self._reader = None

    def _opened(self) -> OpenSource:
        assert self._source is not None
        return self._source

    def _start_over(self, source: OpenSource, state: PostgresPosition | None) -> None:
        """Snapshots what the state says, or everything, with a new slot."""
        server, ending = source.server, None
        if self._replication is not None:
            ending = self._replication.info.backend_pid if not self._replication.closed else None
            self._end_stream()
        drop_slot(source.session, self._name, ending)

        def begin(snapshot: ExportedSnapshot) -> PostgresPosition:
            point = snapshot.consistent_point
            found = source.remembered(state or PostgresPosition(server.name, point, point).above(self._floors))
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

        self._start_snapshot(source, SlotMaking(self._connection, self._name, temporary=False), begin)

    def _resume(self, source: OpenSource, state: PostgresPosition, start: int = sys.maxsize) -> None:
        """`start`: where the slot is, if that may be before our position."""
        self._end_stream()
        if not state.copied or (state.copying is not None and not state.copying.beside):
            making = SlotMaking(self._connection, f"{self._name[:55]}_copy", temporary=True)
            self._start_snapshot(source, making, lambda _: state)
        else:
            self._start_stream(source, state, start)

    def _start_snapshot(
        self, source: OpenSource, making: SlotMaking, begin: Callable[[ExportedSnapshot], PostgresPosition]
    ) -> None:
        self._replication = making.session
        self._copy = Snapshotter(
            self._connection, source.captures, making, begin, source.expected, source.check_snapshot, source.files
        )

    def _start_stream(self, source: OpenSource, state: PostgresPosition, start: int = sys.maxsize) -> None:
        self._end_stream()
        self._replication = connect_replication(self._connection, self._name)
        keep_for_failover(source.session, self._replication, self._name)
        snapshot = IncrementalSnapshot(source)
        self._reader = StreamReader(source, self._replication, self._name, state, start, self._requested, snapshot)
