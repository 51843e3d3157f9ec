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

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition
from pydantic import TypeAdapter, ValidationError

from sorbus.bus.kafka import all_partitions, as_error, base_config, kafka_errors, read_to_end, topic_reader
from sorbus.bus.names import Names
from sorbus.errors import ExitCode, SorbusError
from sorbus.settings import Settings
from sorbus.telemetry.health import REFUSED, Health
from sorbus.telemetry.metrics import last_reads

EVERY = 5.0
"""Seconds between two reports of an idle process."""
_LOOK = 0.5
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
    at: float = 0.0


_AS_REPORT = TypeAdapter(ProcessReport)


class StatusReader:
    """Reads the reports of all processes, first from the beginning and then the new ones."""

    def __init__(self, settings: Settings, names: Names) -> None:
        self._settings, self._topic = settings, names.status
        self._consumer: Consumer | None = None
        self._found: dict[bytes, ProcessReport] = {}

    def read(self) -> list[ProcessReport]:
        """The newest report of each instance; empty before `sorbus apply` has created the topic. TransientError."""
        if self._consumer is None:
            self._begin()
            return list(self._found.values())
        with kafka_errors(f"reading {self._topic}"):
            messages = self._consumer.consume(10_000, 0.05)
        for message in messages:
            if failure := message.error():
                if failure.code() != KafkaError._PARTITION_EOF:
                    raise as_error(failure, f"reading {self._topic}")
                continue
            self._take(message.key(), message.value(), message.timestamp()[1])
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
                    self._take(message.key(), message.value(), message.timestamp()[1])
                with kafka_errors(f"reading {self._topic}"):
                    consumer.assign([TopicPartition(*spot, offset) for spot, offset in ends.items()])
        except SorbusError:
            consumer.close()
            raise
        if partitions:
            self._consumer = consumer
        else:
            consumer.close()

    def _take(self, key: str | bytes | None, value: str | bytes | None, timestamp_ms: int) -> None:
        key = key.encode() if isinstance(key, str) else key or b""
        if not value:
            self._found.pop(key, None)
            return
        with contextlib.suppress(ValidationError):  # from another release of Sorbus, or foreign
            report = _AS_REPORT.validate_json(value)
            self._found[key] = replace(report, at=timestamp_ms / 1000)


@contextmanager
def reporting(settings: Settings, names: Names, process: str, health: Health) -> Iterator[None]:
    """Reports `health` during its block, and how the block ended."""
    writer = _Writer(settings, names, process, health)
    thread = threading.Thread(target=writer.run, name="status", daemon=True)
    thread.start()
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
        writer.end(code, reason)
        thread.join(2)


class _Writer:
    def __init__(self, settings: Settings, names: Names, process: str, health: Health) -> None:
        self._settings, self._topic, self._process, self._health = settings, names.status, process, health
        self._instance = f"{socket.gethostname()}:{os.getpid()}"
        self._ended = threading.Event()
        self._end: tuple[int, str] | None = None

    def end(self, code: int, reason: str) -> None:
        self._end = code, reason
        self._ended.set()

    def run(self) -> None:
        # Stale reports are worthless: what Kafka did not accept within seconds is dropped. log_level: the process's own
        # clients report an unreachable Kafka.
        config = {"message.timeout.ms": 4000, "linger.ms": 0, "log_level": 2, **base_config(self._settings, "status")}
        producer = Producer(config)
        said: tuple[bool, str, tuple[str, ...]] | None = None
        said_at = 0.0
        while not self._ended.wait(_LOOK):
            report = self._report()
            told = report.ready, report.reason, tuple(report.notes)
            if told != said or time.monotonic() - said_at >= EVERY:
                said, said_at = told, time.monotonic()
                self._produce(producer, report)
            producer.poll(0)
        code, reason = self._end or (0, "")
        dependency = REFUSED if code == ExitCode.REFUSED else ""
        reason = reason[:_LONGEST_REASON]
        last = replace(
            self._report(), ready=False, since=time.time(), reason=reason, dependency=dependency, exit_code=code
        )
        self._produce(producer, last)
        producer.flush(1.5)

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
            at=time.time(),
        )

    def _produce(self, producer: Producer, report: ProcessReport) -> None:
        key = f"{self._process} {self._instance}"
        with contextlib.suppress(KafkaException, BufferError):
            producer.produce(self._topic, json.dumps(asdict(report)).encode(), key.encode())
