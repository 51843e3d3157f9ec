"""Each process's status, on a topic of its own: monitors read it wherever the process runs.

Like Kafka Connect's status topic (`status.storage.topic`): compacted, key = process and instance, written on every
change and every few seconds, so that a killed process is noticed. Nothing depends on it: a process works without it.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from queue import SimpleQueue

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition
from pydantic import TypeAdapter, ValidationError

from sorbus.bus.kafka import all_partitions, as_error, base_config, kafka_errors, read_to_end, topic_reader
from sorbus.bus.names import Names
from sorbus.errors import ExitCode, SorbusError, TransientError
from sorbus.settings import Settings
from sorbus.telemetry.health import REFUSED, Health
from sorbus.telemetry.metrics import last_reads

EVERY = 5.0
"""Seconds between two reports of an idle process."""
SILENT = 5 * EVERY
"""Seconds without a report after which a process counts as gone."""
_FORMER = 3600.0
"""Seconds for which what a former instance said last counts: one that others of its process have followed."""
_TRAVEL = 15.0
"""Seconds: a report that is read so long after it was made may have been waiting; else a clock is wrong."""
_LOOK = 0.5
_FLUSHING, _ENDING = 1.5, 2.0
_LONGEST_REASON = 600


@dataclass(frozen=True, slots=True)
class ProcessReport:
    """A process's last report about itself; times in seconds since 1970.

    `process` is its command, such as "produce crm". Ready: it works. Otherwise `reason` says why not, and `dependency`
    names what is missing: "kafka", "registry", "state", "system" (the map's system is unreachable), "refused" (a person
    has to act), or "". `exit_code`: it has ended.
    """

    process: str
    instance: str
    ready: bool
    since: float
    reason: str = ""
    dependency: str = ""
    exit_code: int | None = None
    last_reads: Mapping[str, float] = field(default_factory=dict)
    """Data type -> when it was last polled to the end; "" for a stream: when it was last read to its end."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """Warnings while it works, by kind: "stale", "hot"."""
    was_ready: bool = True
    """Whether it ever was since it began; earlier releases don't say."""
    at: float = 0.0
    """When it was made; whoever reads it sets it, and the other times with it, by its own clock."""


_AS_REPORT = TypeAdapter(ProcessReport)


class StatusReader:
    """Reads the reports of all processes, first from the beginning and then the new ones."""

    def __init__(self, settings: Settings, names: Names) -> None:
        self._settings, self._topic = settings, names.status
        self._consumer: Consumer | None = None
        self._found: dict[bytes, ProcessReport] = {}

    def read(self) -> list[ProcessReport]:
        """The newest report of each instance, but for former ones of long ago; empty before `sorbus apply` has created
        the topic. TransientError.
        """
        if self._consumer is None:
            self._begin()
            return self._current()
        with kafka_errors(f"reading {self._topic}"):
            messages = self._consumer.consume(10_000, 0.05)
        for message in messages:
            if failure := message.error():
                if failure.code() != KafkaError._PARTITION_EOF:
                    raise as_error(failure, f"reading {self._topic}")
                continue
            self._take(message.key(), message.value(), time.time())
        return self._current()

    def _current(self) -> list[ProcessReport]:
        """A process that ends again and again leaves an instance each time: without end, where nobody forgets them."""
        now, newest = time.time(), dict[str, bytes]()
        for key, one in self._found.items():
            if one.process not in newest or one.at >= self._found[newest[one.process]].at:
                newest[one.process] = key
        self._found = {
            key: one for key, one in self._found.items() if now - one.at <= _FORMER or newest[one.process] == key
        }
        return list(self._found.values())

    def close(self) -> None:
        """Stops reading; the next `read` starts over."""
        consumer, self._consumer = self._consumer, None
        self._found.clear()
        if consumer is not None:
            with contextlib.suppress(KafkaException):
                consumer.close()

    def _begin(self) -> None:
        consumer = topic_reader(self._settings, "status", wait_ms=100)
        try:
            partitions = all_partitions(consumer, self._topic, OFFSET_BEGINNING)
            if partitions:
                ends: dict[tuple[str, int], int] = {}
                for message in read_to_end(consumer, partitions, patience=10.0, ends=ends):
                    # Nothing was made after now, whatever the clock said that stamped it.
                    self._take(message.key(), message.value(), min(message.timestamp()[1] / 1000, time.time()))
                with kafka_errors(f"reading {self._topic}"):
                    consumer.assign([TopicPartition(*spot, offset) for spot, offset in ends.items()])
        except SorbusError:
            consumer.close()
            raise
        if partitions:
            self._consumer = consumer
        else:
            consumer.close()

    def _take(self, key: str | bytes | None, value: str | bytes | None, at: float) -> None:
        key = key.encode() if isinstance(key, str) else key or b""
        if not value:
            self._found.pop(key, None)
            return
        with contextlib.suppress(ValidationError):  # from another release of Sorbus, or foreign
            self._found[key] = _by_clock(_AS_REPORT.validate_json(value), at)


def _by_clock(report: ProcessReport, at: float) -> ProcessReport:
    """A report that was made at `at` by another clock than its process's, which may be wrong."""
    wrong = at - report.at if report.at else 0.0
    if abs(wrong) <= _TRAVEL:
        return replace(report, at=at)
    reads = {name: moment + wrong for name, moment in report.last_reads.items()}
    return replace(report, at=at, since=report.since + wrong, last_reads=reads)


def running_reports(settings: Settings, names: Names, process: str) -> list[ProcessReport]:
    """Those of a command's instances that run now. TransientError."""
    reader = StatusReader(settings, names)
    try:
        found = [one for one in reader.read() if one.process == process]
    finally:
        reader.close()
    now = time.time()
    return [one for one in found if one.exit_code is None and now - one.at <= SILENT]


def require_running(settings: Settings, names: Names, process: str) -> None:
    """Before a request to a process, which reads requests from when it was first ready until it ends or is refused.

    TransientError if it wouldn't read one now.
    """
    running = running_reports(settings, names, process)
    if any(one.was_ready and one.dependency != REFUSED for one in running):
        return
    if running:
        why = running[0].reason
        raise TransientError(f"`sorbus {process}` can't take this yet: {why}; nothing was asked, try again then")
    raise TransientError(f"`sorbus {process}` isn't running, and nothing was asked: start it, or `sorbus up`")


@contextmanager
def reporting(settings: Settings, names: Names, process: str, health: Health) -> Iterator[None]:
    """Reports `health` during its block, and how the block ended. All blocks of this process share a client."""
    writer, reporter = _joined(settings, names), _Reporter(process, health)
    writer.add(reporter)
    code, reason = ExitCode.FINE, ""
    try:
        yield
    except SorbusError as error:
        code, reason = error.exit_code, str(error)
        raise
    except Exception as error:
        code, reason = ExitCode.FINDINGS, f"an internal error of Sorbus ({type(error).__name__}); see its log"
        raise
    finally:
        reporter.end(code, reason)
        _left(writer)
        reporter.told.wait(_ENDING)


def tell(settings: Settings, names: Names, topic: str, key: bytes, value: bytes) -> None:
    """Writes something else, to any topic, if this process reports its status; soon, or not at all."""
    with _writers_lock:
        writer = _writers.get(_writer_key(settings, names))
    if writer is not None:
        writer.told.put((topic, key, value))


class _Reporter:
    """What one process, or one of several flows in it, says of itself."""

    def __init__(self, process: str, health: Health) -> None:
        self._process, self._health = process, health
        self._instance = f"{socket.gethostname()}:{os.getpid()}"
        self._said: tuple[bool, str, tuple[str, ...]] | None = None
        self._said_at = 0.0
        self._ended: tuple[int, str] | None = None
        self.told = threading.Event()
        """Its end was told."""

    @property
    def key(self) -> str:
        return f"{self._process} {self._instance}"

    @property
    def has_ended(self) -> bool:
        return self._ended is not None

    def end(self, code: int, reason: str) -> None:
        self._ended = code, reason

    def due(self) -> ProcessReport | None:
        """What is to be told now: what has changed, and every few seconds that it hasn't."""
        if self._ended is not None:
            return self._last(*self._ended)
        report = self._report()
        told = report.ready, report.reason, tuple(report.notes)
        if told == self._said and time.monotonic() - self._said_at < EVERY:
            return None
        self._said, self._said_at = told, time.monotonic()
        return report

    def _last(self, code: int, reason: str) -> ProcessReport:
        dependency = REFUSED if code == ExitCode.REFUSED else ""
        reason = reason[:_LONGEST_REASON]
        now = time.time()
        return replace(self._report(), ready=False, since=now, reason=reason, dependency=dependency, exit_code=code)

    def _report(self) -> ProcessReport:
        status = self._health.status()
        stuck = self._health.stuck()
        return ProcessReport(
            self._process,
            self._instance,
            status.ready and stuck is None,
            status.since.timestamp(),
            (stuck or status.reason or "")[:_LONGEST_REASON],
            "" if stuck else status.dependency,
            last_reads=last_reads(),
            notes={name: words[:_LONGEST_REASON] for name, words in self._health.notes().items()},
            was_ready=self._health.was_ready,
            at=time.time(),
        )


class _Writer:
    """Writes the reports of all reporters, from a thread of its own, until the last has ended."""

    def __init__(self, settings: Settings, topic: str) -> None:
        self._settings, self._topic = settings, topic
        self._reporters: list[_Reporter] = []
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self.told: SimpleQueue[tuple[str, bytes, bytes]] = SimpleQueue()
        self.users = 0
        self.thread = threading.Thread(target=self._run, name="status", daemon=True)

    def add(self, reporter: _Reporter) -> None:
        with self._lock:
            self._reporters.append(reporter)

    def wake(self) -> None:
        """Something ended: it is told at once."""
        self._wake.set()

    def _run(self) -> None:
        # Stale reports are worthless: what Kafka did not accept within seconds is dropped. log_level: the process's own
        # clients report an unreachable Kafka.
        config = {"message.timeout.ms": 4000, "linger.ms": 0, "log_level": 2, **base_config(self._settings, "status")}
        producer = Producer(config)
        while not self._is_over():
            self._wake.wait(_LOOK)
            self._wake.clear()
            with self._lock:
                reporters = list(self._reporters)
            ended = [reporter for reporter in reporters if reporter.has_ended]
            for reporter in reporters:
                if (report := reporter.due()) is not None:
                    self._produce(producer, self._topic, reporter.key.encode(), json.dumps(asdict(report)).encode())
            while not self.told.empty():
                self._produce(producer, *self.told.get())
            producer.poll(0)
            if ended:
                producer.flush(_FLUSHING)
            for reporter in ended:
                reporter.told.set()
                with self._lock:
                    self._reporters.remove(reporter)

    def _is_over(self) -> bool:
        with self._lock:
            return not self.users and not self._reporters

    def _produce(self, producer: Producer, topic: str, key: bytes, value: bytes) -> None:
        with contextlib.suppress(KafkaException, BufferError):
            producer.produce(topic, value, key)


_writers: dict[str, _Writer] = {}
_writers_lock = threading.Lock()


def _writer_key(settings: Settings, names: Names) -> str:
    return repr((settings.kafka, settings.kafka_config, settings.kafka_token, names.status))


def _joined(settings: Settings, names: Names) -> _Writer:
    key = _writer_key(settings, names)
    with _writers_lock:
        writer = _writers.get(key)
        if writer is None:
            writer = _writers[key] = _Writer(settings, names.status)
        writer.users += 1
        if writer.users == 1:
            writer.thread.start()
        return writer


def _left(writer: _Writer) -> None:
    with _writers_lock:
        writer.users -= 1
        if not writer.users:
            for key in [key for key, one in _writers.items() if one is writer]:
                del _writers[key]
    writer.wake()
