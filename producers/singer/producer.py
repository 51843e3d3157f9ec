"""The producer of a system that a Singer tap reads."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence

from pydantic import BaseModel

from sorbus.abilities import PublishedState, Resource
from sorbus.backoff import Backoff
from sorbus.connector import Batch, BoundSource, BoundSystem, Change, Position, RejectedRecord, Step
from sorbus.diagnosis import Diagnosis
from sorbus.drift.watch import DriftWatch
from sorbus.errors import PartialOutage, TransientError, Unfinished
from sorbus.producers.polling.poll_state import PageResult, parts_left
from sorbus.producers.singer.catalog import TapCatalog
from sorbus.producers.singer.diagnose import diagnose_tap
from sorbus.producers.singer.options import SingerConnection, SingerSource
from sorbus.producers.singer.scan import discover_streams, read_one, sample_records, scan_stream
from sorbus.producers.singer.stream import TapStream
from sorbus.producers.singer.tap import Tap
from sorbus.producers.singer.tap_environment import TapEnvironment
from sorbus.producers.singer.tap_run import Found, TapRun
from sorbus.telemetry.metrics import PollMetrics

_SLICE = 0.5
"""Seconds of reading after which the loop gets its turn."""
_COLLECT = 0.25
_CATALOG_LASTS = 3600.0
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 900.0
_log = logging.getLogger(__name__)


class SingerProducer:
    """Captures the data types that one tap brings. Only what differs from its topic is an event."""

    Connection: type[BaseModel] = SingerConnection
    Source: type[BaseModel] = SingerSource

    def __init__(self, system: BoundSystem, sources: Sequence[BoundSource]) -> None:
        """MapError where a mapping doesn't fit."""
        assert isinstance(system.connection, SingerConnection)
        self._system, self._connection = system, system.connection
        self._streams = [TapStream(source, system.name) for source in sources]
        self._tap: Tap | None = None
        self._catalog: TapCatalog | None = None
        self._catalog_until = 0.0
        self._drift: DriftWatch | None = None
        self._metrics: dict[str, PollMetrics] = {}
        self._stored: Position = {}
        self._state: str | None = None
        self._run: TapRun | None = None
        self._is_discovering = False
        self._ready: list[Found] = []
        self._due = self._began = 0.0
        self._backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        self._fault: TransientError | None = None
        self.problem: str | None = None
        """What the last run failed with, or lacked; None once one has come to its end with every stream."""

    @classmethod
    def plan(cls, system: BoundSystem, sources: Sequence[BoundSource]) -> list[Step]:  # noqa: ARG003 - the interface's
        """The tap's environment."""
        assert isinstance(system.connection, SingerConnection)
        if system.connection.command:
            return []
        environment = TapEnvironment.of(system.connection)
        if environment.is_installed:
            return []
        return [Step(system.name, f"install {system.connection.package}", str(environment.folder), environment.install)]

    @classmethod
    def resources_of(cls, options: BaseModel) -> dict[str, str]:
        """The stream, and the lists inside its records."""
        assert isinstance(options, SingerSource)
        return options.resources

    @classmethod
    def discover(cls, system: BoundSystem) -> list[Resource]:
        """Every stream of the tap."""
        return discover_streams(system)

    @classmethod
    def diagnose(cls, system: BoundSystem) -> Iterator[Diagnosis]:
        """What is installed, and whether the tap reaches its system."""
        return diagnose_tap(system)

    @classmethod
    def sample(cls, system: BoundSystem, resource: str, limit: int) -> list[dict[str, object]]:
        """A few records of a stream, as the tap writes them."""
        return sample_records(system, resource, limit)

    @classmethod
    def scan(cls, system: BoundSystem, source: BoundSource) -> Iterator[Sequence[Change | RejectedRecord]]:
        """Every record as it would be published, by a run of its own. TransientError, MapError."""
        return scan_stream(system, source)

    @classmethod
    def ids(cls, system: BoundSystem, source: BoundSource) -> Iterable[bytes]:
        """The key of every record that has one. TransientError, MapError."""
        return (one.id for batch in scan_stream(system, source) for one in batch if isinstance(one, Change))

    @classmethod
    def read_record(cls, system: BoundSystem, source: BoundSource, id: str) -> bytes | None:
        """One record, for which the whole stream is read. PermanentError, TransientError, MapError."""
        return read_one(system, source, id)

    def remember(self, data_type: str, published: Iterable[PublishedState]) -> None:
        """What is on the data type's topic."""
        for stream in self._of(data_type):
            stream.remember(published)

    def take_over(self, floors: Mapping[str, int]) -> None:
        """These data types are published again, above these versions."""
        for stream in self._streams:
            if stream.name in floors:
                stream.take_over(floors[stream.name])

    def open(self, position: Position | None) -> None:
        """Resumes, and installs the tap where it isn't. TransientError."""
        self._stored = dict(position or {})
        self._drift = DriftWatch.of(self._system.name, self._system.topic_prefix)
        state = self._stored.get("state")
        self._state = state if isinstance(state, str) else None
        tap = self._stored.get("tap")
        if tap not in (None, self._connection.name):
            _log.warning(
                "%s: was read by %s, whose state %s can't continue: all is read again",
                self._system.name, tap, self._connection.name,
            )  # fmt: skip
            self._state = None
        streams = self._stored.get("streams")
        for stream in self._streams:
            stream.restore(streams.get(stream.name) if isinstance(streams, dict) else None)
            stream.begin(self._drift)
            self._metrics[stream.name] = PollMetrics(self._system.name, stream.name, period=self._connection.seconds)
        self._tap = Tap(self._system, "capture")
        self._tap.prepare()

    def list_anew(self) -> None:
        """Begins a run now that reads every stream from its beginning."""
        for stream in self._streams:
            stream.ask_all()
        self._due = 0.0

    def reread(self, data_type: str, ids: Sequence[bytes]) -> None:
        """The next run reads the stream from its beginning: a tap reads no single record."""
        for stream in self._of(data_type):
            if ids:
                stream.doubt(ids)
                self._due = 0.0

    def resnapshot(self, data_types: Sequence[str]) -> None:
        """Publishes every record of these data types again."""
        for data_type in data_types:
            for stream in self._of(data_type):
                stream.doubt_all()
                self._due = 0.0

    def read(self, wait: float) -> Batch | None:
        """What a part of a run brought; None when nothing came within `wait` seconds.

        PartialOutage when a run has failed: the next one begins after a pause. Unfinished while one is under way.
        """
        until = time.monotonic() + max(wait, _SLICE)
        while True:
            self._raise_fault()
            if self._ready:
                return self._batch(self._ready.pop(0))
            if not self._is_busy and not self._waited(min(until, time.monotonic() + wait)):
                return None
            try:
                found = self._step(until - time.monotonic())
            except TransientError as error:
                self._fail(error)
                continue
            if found is not None:
                return self._batch(found)
            if self._position() != self._stored and not self._ready:
                return self._batch(Found("", PageResult()))
            if time.monotonic() >= until and self._is_busy:
                raise Unfinished(f"{self._system.name} is being read", retry_after=0.0)

    @property
    def _is_busy(self) -> bool:
        return self._run is not None or self._is_discovering

    def _waited(self, until: float) -> bool:
        """Whether a run is due, waiting for it until then at most."""
        if not self._backoff.failures and any(stream.is_pressing for stream in self._streams):
            return True
        left = min(self._due, until) - time.monotonic()
        if left > 0:
            time.sleep(left)
        return time.monotonic() >= self._due

    def _raise_fault(self) -> None:
        fault, self._fault = self._fault, None
        if fault is not None:
            raise fault

    def confirm(self, position: Position) -> None:
        """A tap is told with its next start where it has got to."""

    def lag(self) -> int | None:
        """A tap doesn't say what is still to come."""
        return None

    def close(self) -> None:
        """Ends the tap, and removes its files."""
        self._run, self._is_discovering = None, False
        if self._tap is not None:
            self._tap.close()
            self._tap = None
        if self._drift is not None:
            self._drift.close()

    def _step(self, wait: float) -> Found | None:
        """Discovers, starts or reads. TransientError."""
        assert self._tap is not None
        if self._is_discovering:
            catalog = self._tap.discovered(wait)
            if catalog is None:
                return None
            self._is_discovering = False
            self._catalog, self._catalog_until = catalog, time.monotonic() + _CATALOG_LASTS
        if self._run is None:
            self._began = time.monotonic()
            if self._connection.catalog != "none" and self._began >= self._catalog_until:
                self._tap.discover()
                self._is_discovering = True
                return None
            self._run = TapRun(self._tap, self._catalog, self._streams, self._state, self._system.name)
        run = self._run
        found = run.read(max(0.0, wait), time.monotonic() + _COLLECT)
        self._state = run.state
        if run.is_over:
            self._end(run)
        return found

    def _end(self, run: TapRun) -> None:
        assert self._tap is not None
        self._ready += [one for one in run.ended() if one.result.changes or one.result.rejects]
        self._run = None
        self._tap.stop()
        self._backoff.reset()
        left_out = [stream.options.stream for stream in self._streams if stream.is_left_out]
        self.problem = None
        if left_out:
            self.problem = (
                f"{self._system.name}: the tap ended without an error and without a word about"
                f" {', '.join(left_out)}: see in its own log whether it has the right to read that, and whether"
                " `sorbus discover` still lists it"
            )
        now = time.monotonic()
        self._due = now + self._connection.seconds
        if any(stream.owes_all and not stream.is_left_out for stream in self._streams):
            self._due = now
        for stream in self._streams:
            self._metrics[stream.name].polled(stream.records, now - self._began)
        if self.problem is not None:
            _log.warning("%s", self.problem)
        counts = ", ".join(f"{stream.records:,} of {stream.name}" for stream in self._streams)
        _log.info("%s: the tap has read %s in %.1f s", self._system.name, counts, now - self._began)

    def _fail(self, error: TransientError) -> None:
        """Ends the run; the state stays where the last published one is. What was read so far is published first."""
        assert self._tap is not None
        self._tap.stop()
        self._run, self._is_discovering = None, False
        self._catalog_until = 0.0
        pause = min(self._backoff.next(error.retry_after), max(self._connection.seconds, _FIRST_PAUSE))
        self._due = time.monotonic() + pause
        self.problem = f"{self._system.name}: {error}"
        self._fault = PartialOutage(self.problem, retry_after=pause)

    def _of(self, data_type: str) -> list[TapStream]:
        return [stream for stream in self._streams if stream.name == data_type]

    def _position(self) -> Position:
        streams = {stream.name: stream.position() for stream in self._streams}
        stored = self._stored.get("streams")
        left = parts_left(stored, streams) if isinstance(stored, dict) else {}
        return {"tap": self._connection.name, "state": self._state, "streams": streams | left}

    def _batch(self, found: Found) -> Batch:
        self._stored = self._position()
        stream = next(iter(self._of(found.data_type)), None)
        copied = None
        if stream is not None and not stream.is_read and found.result.changes:
            copied = (stream.name, stream.records, stream.records)
        is_idle = not self._is_busy and not self._ready
        result = found.result
        return Batch(result.changes, result.rejects, (), self._stored, is_idle, copied)
