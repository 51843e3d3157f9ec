"""A topic in memory in place of Kafka's, and a bus that publishes what a step makes of it, or loses it by a crash."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import cast

from sorbus.abilities import PublishedState
from sorbus.avro.encode import encoder
from sorbus.conformance.sample_type import NAME, SCHEMA, decode
from sorbus.connector import Batch, Position
from sorbus.errors import TransientError, Unfinished
from sorbus.event import HISTORICAL, Headers, envelope_schema, event_encoder, single_object_prefix
from sorbus.producers.step.producer import StepProducer
from sorbus.schema import FieldType

PARTITIONS = 2
_ENCODE = encoder(FieldType("record", fields=SCHEMA.fields))
_EVENT = event_encoder(single_object_prefix(envelope_schema(SCHEMA)), "crm", "thing")
Thing = dict[str, object]


@dataclass(frozen=True)
class MemoryMessage:
    """What a step reads of a confluent_kafka.Message."""

    place: tuple[int, int]
    id: bytes
    frame: bytes | None
    more: Headers

    def key(self) -> bytes:
        return self.id

    def value(self) -> bytes | None:
        return self.frame

    def headers(self) -> Headers:
        return self.more

    def topic(self) -> str:
        return "thing"

    def partition(self) -> int:
        return self.place[0]

    def offset(self) -> int:
        return self.place[1]

    def timestamp(self) -> tuple[int, int]:
        return 1, 1_700_000_000_000


@dataclass
class MemoryLog:
    """The messages of each partition by offset, compacted on request."""

    partitions: list[dict[int, MemoryMessage]] = field(default_factory=lambda: [{} for _ in range(PARTITIONS)])
    ends: list[int] = field(default_factory=lambda: [0] * PARTITIONS)
    version: int = 1_700_000_000_000_000
    begins: list[int] = field(default_factory=lambda: [0] * PARTITIONS)
    moved: bool = False
    """Whether keys go to the other partition from now on."""
    faults: int = 0
    """How many of the next answers are faults."""

    def answer(self) -> None:
        """TransientError, as of a broker that is away."""
        if self.faults:
            self.faults -= 1
            raise TransientError("the broker is away")

    def put(self, id: str, thing: Thing | None, *, historical: bool = False) -> None:
        """An event of a thing, None: deleted, with its tombstone."""
        self.version += 1
        data = None if thing is None else _ENCODE({**dict.fromkeys(SCHEMA.by_name), **thing})
        frame, headers = _EVENT(id.encode(), self.version, self.version, self.version, data)
        self.append(id, frame, [*headers, *([(HISTORICAL, b"1")] if historical else [])])
        if thing is None:
            self.append(id, None, headers)

    def append(self, id: str, frame: bytes | None, headers: Headers) -> None:
        """A message of this key."""
        number = (sum(id.encode()) + self.moved) % PARTITIONS
        at = self.ends[number]
        self.partitions[number][at] = MemoryMessage((number, at), id.encode(), frame, headers)
        self.ends[number] += 1

    def compact(self, *, tombstones: bool) -> None:
        """Only the newest message of each key stays; `tombstones`: not even that of a deleted record."""
        for messages in self.partitions:
            newest = {message.id: at for at, message in messages.items()}
            for at, message in list(messages.items()):
                if newest[message.id] != at or (tombstones and message.frame is None):
                    del messages[at]


class MemoryTopic:
    """Stands for `SourceTopic`."""

    topic = "thing"
    has_grown = False

    def __init__(self, log: MemoryLog) -> None:
        self._log = log
        self.begins = [0] * PARTITIONS
        self.offsets = [0] * PARTITIONS

    def open(self, stored: Position | None) -> str:
        self.offsets = list(cast("list[int]", stored["offsets"])) if stored else [0] * PARTITIONS
        return ""

    def rewind(self) -> None:
        self.offsets = [0] * PARTITIONS

    @property
    def is_at_end(self) -> bool:
        return not self._left(1)

    def read(self, wait: float, most: int) -> list[MemoryMessage]:
        self._log.answer()
        return self._left(most)

    def taken(self, count: int) -> None:
        for message in self._left(count):
            self.offsets[message.place[0]] = message.place[1] + 1

    def check(self) -> str:
        return ""

    def is_due(self) -> bool:
        return False

    def position(self) -> Position:
        return {"id": "x", "begins": [0] * PARTITIONS, "offsets": list(self.offsets), "read_at": [0.0] * PARTITIONS}

    def all_messages(self, wait: float) -> Iterator[list[MemoryMessage]]:
        for messages in self._log.partitions:
            self._log.answer()
            yield list(messages.values())

    def close(self) -> None:
        """There is nothing to close."""

    def _left(self, most: int) -> list[MemoryMessage]:
        found = [
            message
            for number, messages in enumerate(self._log.partitions)
            for at, message in messages.items()
            if at >= self.offsets[number]
        ]
        return found[:most]


class StepBus:
    """What is published, with the position; a session of the producer as the loop runs it."""

    def __init__(self, make: Callable[[], StepProducer]) -> None:
        self._make = make
        self.states: dict[str, tuple[int, bytes | None]] = {}
        self.rejected: dict[str, str] = {}
        self.position: Position | None = None
        self.events = 0
        self._producer: StepProducer | None = None

    def producer(self) -> StepProducer:
        """The running one, or a new one at the published position."""
        if self._producer is None:
            self._producer = self._make()
            self._producer.remember(NAME, self._published())
            self._producer.open(self.position)
            self._producer.reread(NAME, [id.encode() for id in self.rejected])
        return self._producer

    def read(self) -> Batch | None:
        """The next batch, unless it is still at work."""
        for _ in range(1000):
            try:
                return self.producer().read(0.0)
            except (Unfinished, TransientError):  # as the session does: the same producer is asked again
                continue
        raise AssertionError("it never gets anywhere")

    def step(self) -> bool:
        """Reads and publishes; False where there was nothing."""
        batch = self.read()
        if batch is not None:
            self.publish(batch)
        return batch is not None

    def settle(self) -> None:
        """Until nothing is left."""
        for _ in range(10_000):
            if not self.step():
                return
        raise AssertionError("it never ends")

    def publish(self, batch: Batch) -> None:
        for change in batch.changes:
            before = self.states.get(change.id.decode(), (0, None))
            assert change.version > before[0], f"{change.id!r} goes from {before[0]} to {change.version}"
            self.states[change.id.decode()] = change.version, change.data
            self.rejected.pop(change.id.decode(), None)
            self.events += 1
        for _, id in batch.resolved:
            self.rejected.pop(id.decode(), None)
        newest = {change.id: change.version for change in batch.changes}
        for reject in batch.rejects:
            if newest.get(reject.id, -1) < reject.version:
                self.rejected[reject.id.decode()] = str(reject.error)
        self.position = json.loads(json.dumps(batch.position))

    def crash(self) -> None:
        """The producer dies with all that it had read."""
        self._producer = None

    def live(self) -> dict[str, dict[str, object]]:
        """What is made now."""
        return {id: decode(data) for id, (_, data) in self.states.items() if data is not None}

    def _published(self) -> Iterator[PublishedState]:
        for id, (version, data) in self.states.items():
            if data is not None:
                yield PublishedState(id.encode(), version, version, b"" if id in self.rejected else data)
        for id in self.rejected.keys() - {id for id, (_, data) in self.states.items() if data is not None}:
            yield PublishedState(id.encode(), 0, 0, b"")
