"""What a group has not read yet: exactly when it is little, and how old the first of it is.

The end of a partition minus the committed offset is not the number of waiting messages: markers of transactions and
holes of compaction count as offsets, so that an idle flow would seem behind for ever. So the messages behind the
committed offset are looked at, and what is seen is remembered as long as the offset stays.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from confluent_kafka import KafkaError, Message, TopicPartition

from sorbus.bus.closing import TopicConsumer
from sorbus.bus.kafka import as_error, base_config, kafka_errors
from sorbus.ops.monitoring.offsets import Part
from sorbus.settings import Settings

EXACT = 500
"""Up to this many offsets, messages are counted one by one; above it, offsets are good enough."""


class Span(NamedTuple):
    """Where a group stands in a partition, and where that ends."""

    committed: int
    end: int


class Unread(NamedTuple):
    """Messages waiting in a partition, and when the first of them was written (seconds since 1970)."""

    records: int
    since: float | None


class _Look(NamedTuple):
    """What a look at a span showed; not sure when Kafka was too slow to show all of it."""

    span: Span
    unread: Unread
    is_sure: bool


_NOTHING = Unread(0, None)


class UnreadReader:
    """Looks at the messages behind committed offsets; one connection, kept between measurements."""

    def __init__(self, settings: Settings, *, patience: float = 5.0, clock: Callable[[], float] = time.time) -> None:
        self._consumer = TopicConsumer(
            {
                "group.id": "sorbus-watch",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                # Only the first message matters most of the time, so little is fetched.
                "fetch.message.max.bytes": 64 * 1024,
                "queued.max.messages.kbytes": 1024,
                "fetch.wait.max.ms": 100,
                "log_level": 2,
                **base_config(settings, "watch"),
            }
        )
        self._patience, self._clock = patience, clock
        self._seen: dict[tuple[str, Part], _Look] = {}

    def look(self, group: str, spans: Mapping[Part, Span]) -> dict[Part, Unread]:
        """What waits in each of a group's partitions. AuthError, TransientError."""
        found: dict[Part, Unread] = {}
        to_read: dict[Part, Span] = {}
        for part, span in spans.items():
            known = self._remembered(group, part, span)
            if known is None:
                to_read[part] = span
            else:
                found[part] = known
        for part, look in self._read(group, to_read).items() if to_read else ():
            self._seen[group, part] = look
            found[part] = look.unread
        return found

    def close(self) -> None:
        self._consumer.close()

    def _remembered(self, group: str, part: Part, span: Span) -> Unread | None:
        if span.end <= span.committed:
            return _NOTHING
        seen = self._seen.get((group, part))
        if seen is None or not seen.is_sure or seen.span.committed != span.committed:
            return None
        if seen.span.end == span.end:
            return seen.unread
        if seen.unread.since is not None and span.end - span.committed > EXACT:
            return Unread(span.end - span.committed, seen.unread.since)
        return None

    def _read(self, group: str, spans: Mapping[Part, Span]) -> dict[Part, _Look]:
        counts = dict.fromkeys(spans, 0)
        since: dict[Part, float] = {}
        left = set(spans)
        deadline = time.monotonic() + self._patience
        with kafka_errors("looking at unread messages"):
            self._consumer.assign([TopicPartition(*part, span.committed) for part, span in spans.items()])
            while left and time.monotonic() < deadline:
                for message in self._consumer.consume(EXACT, 0.2):
                    part = _part(message)
                    if part not in left:
                        continue
                    if _is_end(message):
                        done = True
                    else:
                        counts[part] += 1
                        since.setdefault(part, _written(message))
                        span = spans[part]
                        done = span.end - span.committed > EXACT or _offset(message) >= span.end - 1
                    if done:
                        left.discard(part)
                        self._consumer.incremental_unassign([TopicPartition(*part)])
            self._consumer.unassign()
        return {
            part: self._suspect(group, part, span, since.get(part))
            if part in left
            else _Look(span, _conclude(span, counts[part], since.get(part)), is_sure=True)
            for part, span in spans.items()
        }

    def _suspect(self, group: str, part: Part, span: Span, since: float | None) -> _Look:
        """Something may wait, since the first message seen or, if none was, since it was first suspected."""
        if since is None:
            before = self._seen.get((group, part))
            is_same = before is not None and before.span.committed == span.committed
            since = before.unread.since if before is not None and is_same else None
        return _Look(span, Unread(span.end - span.committed, self._clock() if since is None else since), is_sure=False)


def _conclude(span: Span, count: int, since: float | None) -> Unread:
    if since is None:
        return _NOTHING
    size = span.end - span.committed
    return Unread(size if size > EXACT else count, since)


def _part(message: Message) -> Part:
    topic, partition = message.topic(), message.partition()
    assert topic is not None
    assert partition is not None
    return topic, partition


def _is_end(message: Message) -> bool:
    failure = message.error()
    if failure is None:
        return False
    if failure.code() == KafkaError._PARTITION_EOF:
        return True
    raise as_error(failure, f"looking at unread messages of {message.topic()}")


def _offset(message: Message) -> int:
    offset = message.offset()
    assert offset is not None
    return offset


def _written(message: Message) -> float:
    return float(message.timestamp()[1]) / 1000
