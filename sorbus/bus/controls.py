"""What people tell flows: to pause, and to deliver now. Two messages a flow, on a compacted topic, beside when each
read last (`sorbus.bus.read_times`).

They are two, so that a pause and a request to deliver, told at the same moment, don't undo each other.

Kafka keeps it, not Sorbus's database: a consumer that starts while the database is away must not deliver what a person
has paused.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, TopicPartition
from pydantic import TypeAdapter, ValidationError

from sorbus.bus.kafka import (
    all_partitions,
    as_error,
    bytes_of,
    idempotent_producer,
    kafka_errors,
    read_to_end,
    topic_reader,
)
from sorbus.bus.names import Names
from sorbus.bus.read_times import READ_BY
from sorbus.bus.sending import Single, send
from sorbus.calendar_limits import moment_of
from sorbus.errors import SorbusError
from sorbus.settings import Settings

_EVERY = 1.0
_SYNC = "sync "
"""Begins the key of the message that asks a flow to deliver now."""
ERASED = "erased "
"""Begins the keys of messages that are for no flow: `sorbus.erased` reads them."""
_WITHOUT_TOPIC = 15.0
ITSELF = "itself"
"""Who paused a flow that its target wants nothing for any more."""


@dataclass(frozen=True, slots=True)
class FlowPause:
    """Who paused a flow, why, and when (seconds since 1970)."""

    who: str
    reason: str
    since: float

    @property
    def is_own(self) -> bool:
        """Whether the flow paused itself, so that a person has to be told."""
        return self.who == ITSELF

    @property
    def words(self) -> str:
        """`paused by Anna since 2026-11-29 13:20 UTC: stocktaking`."""
        at = moment_of(1e6 * self.since).astimezone().strftime("%Y-%m-%d %H:%M %Z")
        return f"paused by {self.who} since {at}: {self.reason}"


@dataclass(frozen=True, slots=True)
class FlowControl:
    """What a flow was told last. `sync_at`: when it was asked to deliver at once (seconds since 1970), 0: never."""

    pause: FlowPause | None = None
    sync_at: float = 0.0


_AS_CONTROL = TypeAdapter(FlowControl)
UNTOLD = FlowControl()


class ControlReader:
    """Reads what flows were told: first everything, then what is new, at most once a second. Thread-safe."""

    def __init__(self, settings: Settings, names: Names) -> None:
        self._settings, self._names, self._topic = settings, names, names.controls
        self._consumer: Consumer | None = None
        self._found: dict[str, FlowControl] = {}
        self._syncs: dict[str, float] = {}
        self._next = 0.0
        self._lock = threading.RLock()
        self._failure: SorbusError | None = None

    def read(self) -> Mapping[str, FlowControl]:
        """By flow. Empty before `sorbus apply` has created the topic. TransientError, AuthError."""
        with self._lock:
            if time.monotonic() < self._next:
                if self._failure is not None:  # another flow has just tried, and maybe waited long for it
                    raise self._failure.with_traceback(None)
                return self._found
            try:
                self._read()
                self._failure = None
            except SorbusError as error:
                self._failure = error
                raise
            finally:
                self._next = max(self._next, time.monotonic() + _EVERY)
            return self._found

    def _read(self) -> None:
        if self._consumer is None:
            self._begin()
            return
        with kafka_errors(f"reading {self._topic}"):
            messages = self._consumer.consume(1000, 0.0)
        for message in messages:
            failure = message.error()
            if failure is None:
                self._take(message)
            elif failure.code() != KafkaError._PARTITION_EOF:
                raise as_error(failure, f"reading {self._topic}")

    def of(self, flow: str) -> FlowControl:
        """What one flow was told. TransientError, AuthError."""
        return self.read().get(flow, UNTOLD)

    def tell_pause(self, flow: str, pause: FlowPause | None) -> None:
        """Pauses or resumes a flow; `of` says so from now on. TransientError, AuthError."""
        producer = idempotent_producer(self._settings, f"control-{flow}")
        send(producer, [pause_message(self._names, flow, pause)], f"telling flow {flow}")
        with self._lock:
            self._found[flow] = replace(self._found.get(flow, UNTOLD), pause=pause)

    def close(self) -> None:
        """Stops reading; the next `read` starts over."""
        with self._lock:
            consumer, self._consumer = self._consumer, None
            self._found, self._syncs, self._next, self._failure = {}, {}, 0.0, None
        if consumer is not None:
            with kafka_errors("closing a reader"):
                consumer.close()

    def _begin(self) -> None:
        ends: dict[tuple[str, int], int] = {}
        reader = topic_reader(self._settings, "controls")  # one that learns at once where the topic ends
        try:
            partitions = all_partitions(reader, self._topic, OFFSET_BEGINNING)
            for message in read_to_end(reader, partitions, patience=10.0, ends=ends) if partitions else ():
                self._take(message)
        finally:
            with kafka_errors("closing a reader"):
                reader.close()
        if not partitions:
            self._next = time.monotonic() + _WITHOUT_TOPIC
            return
        consumer = topic_reader(self._settings, "controls", wait_ms=5000)  # one that seldom asks
        try:
            with kafka_errors(f"reading {self._topic}"):
                consumer.assign([TopicPartition(*spot, offset) for spot, offset in ends.items()])
        except SorbusError:
            consumer.close()
            raise
        self._consumer = consumer

    def _take(self, message: Message) -> None:
        key, value = bytes_of(message.key()).decode(errors="replace"), message.value()
        if key.startswith((READ_BY, ERASED)):
            return
        try:
            told = _AS_CONTROL.validate_json(value) if value else UNTOLD
        except ValidationError:  # from another release of Sorbus
            told = UNTOLD
        flow = key.removeprefix(_SYNC)
        if flow != key:
            self._syncs[flow] = told.sync_at
            self._found[flow] = replace(self._found.get(flow, UNTOLD), sync_at=told.sync_at)
        else:  # an older release tells both in this one
            self._found[flow] = replace(told, sync_at=self._syncs.get(flow, told.sync_at))


class _SharedControls(ControlReader):
    """Closes when the last flow has closed it; one flow may close it once."""

    users = 0

    def close(self) -> None:
        with _shared_lock:
            self.users -= 1
            if self.users:
                return
            for key in [key for key, one in _shared.items() if one is self]:
                del _shared[key]
        super().close()


_shared: dict[str, _SharedControls] = {}
_shared_lock = threading.Lock()


def shared_controls(settings: Settings, names: Names) -> ControlReader:
    """The reader of all flows of this process; each closes it once."""
    key = repr((settings.kafka, settings.kafka_config, settings.kafka_token, names.controls))
    with _shared_lock:
        found = _shared.setdefault(key, _SharedControls(settings, names))
        found.users += 1
        return found


def pause_message(names: Names, flow: str, pause: FlowPause | None) -> Single:
    """The message that pauses or resumes a flow."""
    return Single(names.controls, flow.encode(), json.dumps(asdict(FlowControl(pause))).encode())


def sync_message(names: Names, flow: str, at: float) -> Single:
    """The message that asks a flow to deliver now; `at` (seconds since 1970) differs from that of the last one."""
    return Single(names.controls, f"{_SYNC}{flow}".encode(), json.dumps({"sync_at": at}).encode())
