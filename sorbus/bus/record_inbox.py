"""Records that were posted to a system's inbox, in the order of their arrival.

The inbox is all that there is of them: the webhook service answers 2xx once they are here, and the system's producer
publishes them from here. Each stays for 30 days, for dead letters that are retried and for snapshots.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from heapq import merge
from typing import Literal, NamedTuple, cast, get_args

from confluent_kafka import KafkaError, Message, TopicPartition
from pydantic import JsonValue

from sorbus.bus.committed import REMOVED
from sorbus.bus.inbox import MissingInbox
from sorbus.bus.kafka import (
    admin,
    all_partitions,
    as_error,
    bytes_of,
    headers_of,
    kafka_errors,
    offset_of,
    partition_of,
    topic_reader,
)
from sorbus.bus.names import Names
from sorbus.bus.sending import Single
from sorbus.bus.topic_facts import topic_ids
from sorbus.errors import SorbusError, TransientError
from sorbus.settings import Settings

LARGEST_RECORD = 4_000_000
"""Bytes of a posted record as JSON."""
PARTITION = 0
"""Where posts go: their order is that of their arrival."""
_TOPIC = "topic"
"""The key of a position that holds the topic's id in Kafka."""
MOST_AT_ONCE = 1000

PostedKind = Literal["record", "delete", "unreadable"]


class PostedRecord(NamedTuple):
    """What a system posted. `body`: the record as JSON; `id` is empty where it has none.

    `kind` "unreadable": it holds no record, for the reason `why`. `delivery`: the delivery's own id, which its
    repetitions share; "" if it has none. `received_at`: microseconds since 1970 (UTC).
    """

    data_type: str
    id: str
    kind: PostedKind
    body: bytes
    delivery: str
    received_at: int
    why: str = ""

    def message(self, names: Names, system: str) -> Single:
        """As it is in the inbox."""
        told = {"data_type": self.data_type, "id": self.id, "kind": self.kind, "delivery": self.delivery}
        told |= {"received_at": str(self.received_at), "why": self.why}
        headers = [(name, value.encode("utf-8", "replace")) for name, value in told.items()]
        return Single(names.inbox(system), f"{self.data_type}:{self.id}".encode(), self.body, headers, PARTITION)


class ArrivedRecord(NamedTuple):
    """A posted record at its place. `record` None: the message isn't one."""

    partition: int
    offset: int
    record: PostedRecord | None


class RecordInbox:
    """Reads one system's inbox from where its producer stopped.

    Posts go to partition 0. A topic with more (added later, or made so by the broker) may hold posts of
    earlier releases there: these are read first.
    """

    def __init__(self, settings: Settings, names: Names, system: str, position: Mapping[str, JsonValue] | None) -> None:
        """`position` is an earlier `position()`; None: from the beginning. TransientError; MissingInbox."""
        self._settings, self._topic, self._system = settings, names.inbox(system), system
        self._consumer = topic_reader(settings, f"inbox-{system}", wait_ms=50)
        self.lost = ""
        """Which posts were removed before they were read, as a clause; "" for none."""
        self.next: dict[int, int] = {}
        """Partition -> the offset after what `read` has returned."""
        try:
            partitions = [part.partition for part in all_partitions(self._consumer, self._topic)]
            if not partitions:
                raise MissingInbox(f"there is no topic {self._topic} yet; run `sorbus apply`")
            self._partitions = sorted(partitions, key=lambda number: (number == PARTITION, number))
            self._id = topic_ids(admin(settings), [self._topic]).get(self._topic, ("", 0))[0]
            known = position or {}
            bounds = {number: self._bounds(number) for number in self._partitions}
            offsets = {number: found if isinstance(found := known.get(str(number)), int) else 0 for number in bounds}
            if known.get(_TOPIC, self._id) != self._id or any(offsets[part] > bounds[part][1] for part in bounds):
                self.lost = f"{self._topic} was made again, and posts may be missing that it held before"
                offsets = dict.fromkeys(bounds, 0)
            elif removed := sum(max(0, bounds[part][0] - offsets[part]) for part in bounds):
                self.lost = f"{removed:,} posts {REMOVED}"
            self.next = {part: max(bounds[part][0], offsets[part]) for part in self._partitions}
            self._left = {part: bounds[part][1] for part in self._partitions if part != PARTITION}
            self._assign()
        except SorbusError:
            self.close()
            raise

    def read(self, wait: float) -> list[ArrivedRecord]:
        """What arrives within `wait` seconds, or is waiting. TransientError."""
        deadline = time.monotonic() + wait
        while True:
            left = max(0.0, deadline - time.monotonic())
            with kafka_errors(f"reading {self._topic}"):
                messages = self._consumer.consume(1, left)
                if messages:  # consume waits for as many as requested: waiting messages arrive at once
                    messages += self._consumer.consume(MOST_AT_ONCE - 1, 0.01)
            found = [one for message in messages if (one := self._taken(message)) is not None]
            if self._left and all(self.next[part] >= end for part, end in self._left.items()):
                self._left = {}
                self._assign()
            if found or left <= 0:
                return found

    def history(self, begin: Mapping[int, int] | None = None) -> Iterator[ArrivedRecord]:
        """What was read already, from these offsets on by partition; None: all that is left. TransientError.

        Each partition's in its order, those of several by when they were received.
        """
        parts = (self._history(part, (begin or {}).get(part, 0)) for part in self._partitions)
        yield from merge(*parts, key=lambda one: one.record.received_at if one.record else 0)

    def _history(self, part: int, begin: int) -> Iterator[ArrivedRecord]:
        at, end, patience = max(begin, self._bounds(part)[0]), self.next[part], 10.0
        if at >= end:
            return
        reader = topic_reader(self._settings, f"inbox-history-{self._system}")
        try:
            with kafka_errors(f"reading {self._topic}"):
                reader.assign([TopicPartition(self._topic, part, at)])
            while at < end:
                with kafka_errors(f"reading {self._topic}"):
                    messages = reader.consume(1, 1.0)
                    messages += reader.consume(MOST_AT_ONCE - 1, 0.01) if messages else []
                patience = patience - 1.0 if not messages else 10.0
                if patience <= 0:
                    raise TransientError(f"reading {self._topic}: Kafka sent nothing for a while")
                for message in messages:
                    failure = message.error()
                    if failure is not None and failure.code() != KafkaError._PARTITION_EOF:
                        raise as_error(failure, f"reading {self._topic}")
                    at = offset_of(message) + (failure is None)
                    if failure is None and at <= end:
                        yield ArrivedRecord(part, at - 1, posted_record(message))
        finally:
            with kafka_errors("closing a reader"):
                reader.close()

    def position(self) -> dict[str, JsonValue]:
        """After what `read` has returned."""
        return {**{str(part): offset for part, offset in sorted(self.next.items())}, _TOPIC: self._id}

    def position_before(self, records: int) -> dict[int, int]:
        """Partition -> the offset so many records before what `read` returns next."""
        return {part: offset - records for part, offset in self.next.items()}

    def ends(self) -> dict[int, int]:
        """Partition -> the offset of what arrives next. TransientError."""
        return {part: self._bounds(part)[1] for part in self._partitions}

    def behind(self) -> int:
        """How many records wait. TransientError."""
        ends = self.ends()
        return sum(max(0, ends[part] - self.next[part]) for part in self._partitions)

    def close(self) -> None:
        """Stops reading."""
        with kafka_errors("closing a reader"):
            self._consumer.close()

    def _assign(self) -> None:
        """Other partitions until they are read: what partition 0 holds of the same record came later."""
        parts = [*self._left] if any(self.next[part] < end for part, end in self._left.items()) else self._partitions
        with kafka_errors(f"reading {self._topic}"):
            self._consumer.assign([TopicPartition(self._topic, part, self.next[part]) for part in parts])

    def _bounds(self, part: int) -> tuple[int, int]:
        with kafka_errors(f"reading where {self._topic} begins and ends"):
            return self._consumer.get_watermark_offsets(TopicPartition(self._topic, part), timeout=10.0)

    def _taken(self, message: Message) -> ArrivedRecord | None:
        if failure := message.error():
            if failure.code() != KafkaError._PARTITION_EOF:
                raise as_error(failure, f"reading {self._topic}")
            part = partition_of(message)[1]
            self.next[part] = max(self.next[part], offset_of(message))  # past the markers of transactions
            return None
        part, offset = partition_of(message)[1], offset_of(message)
        following = self.next[part]
        if offset < following or (offset > following and self._bounds(part)[0] > following):
            raise TransientError(f"{self._topic} no longer holds offset {following}: it is opened again")
        self.next[part] = offset + 1
        return ArrivedRecord(part, offset, posted_record(message))


def posted_record(message: Message) -> PostedRecord | None:
    """The record in a message; None if it isn't one."""
    told = {name: (value or b"").decode("utf-8", "replace") for name, value in headers_of(message)}
    kind, at = told.get("kind", ""), told.get("received_at", "")
    if kind not in get_args(PostedKind) or not at.isdigit() or not told.get("data_type"):
        return None
    return PostedRecord(
        told["data_type"],
        told.get("id", ""),
        cast("PostedKind", kind),
        bytes_of(message.value()),
        told.get("delivery", ""),
        int(at),
        told.get("why", ""),
    )
