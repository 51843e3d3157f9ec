"""What a system's topics hold behind its stored position: events that were sent without a transaction.

Its producer reads the same changes again, and publishes only those that aren't there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from confluent_kafka import Message, TopicPartition

from sorbus.avro.decode import Undecodable
from sorbus.bus.kafka import Partition, bytes_of, headers_of, partition_of, read_to_end, topic_reader
from sorbus.bus.publisher import Outgoing
from sorbus.bus.topic_ends import Difference
from sorbus.errors import TransientError
from sorbus.event import EVENT_ID, open_frame, source_of, told_by_source, version_of
from sorbus.settings import Settings


class _Sent(NamedTuple):
    """An event that is there; `told`: what the source gives again (None for a tombstone)."""

    key: bytes
    told: bytes | None
    version: int
    offset: int


class Diverged(TransientError):
    """The source doesn't give again what was published from it."""

    def __init__(self, topic: str, why: str) -> None:
        super().__init__(why, retry_after=1.0)
        self.topic = topic


class TopicTail:
    """Events behind a position, by partition, until the source has given them again."""

    def __init__(self) -> None:
        self._sent: dict[Partition, deque[_Sent]] = {}
        self.version = 0
        """The highest of their versions."""

    def __len__(self) -> int:
        return sum(map(len, self._sent.values()))

    @property
    def topics(self) -> list[str]:
        """Where there are events that the source has not given again."""
        return sorted({topic for topic, _ in self._sent})

    @property
    def begins(self) -> dict[Partition, int]:
        """The offsets from which on there are events that the source has not given again."""
        return {part: sent[0].offset for part, sent in self._sent.items()}

    def add(self, partition: Partition, offset: int, key: bytes, value: bytes | None, version: int) -> None:
        """An event that is there."""
        told = None if value is None else told_by_source(value)
        self._sent.setdefault(partition, deque()).append(_Sent(key, told, version, offset))
        self.version = max(self.version, version)

    def unpublished(self, messages: Sequence[Outgoing], partition: Callable[[str, bytes], int]) -> list[int]:
        """Which of these messages aren't on their topics yet. Diverged when what is there doesn't come again.

        A change may come with a higher version than it had: if another data type is being published again.
        """
        left = []
        for number, (topic, key, value, _) in enumerate(messages):
            place = (topic, partition(topic, key))
            sent = self._sent.get(place)
            if sent is None:
                left.append(number)
                continue
            there = sent[0]
            told = None if value is None else told_by_source(value)
            if (there.key, there.told) != (key, told) or (value and open_frame(value).version < there.version):
                raise Diverged(topic, f"topic {topic} holds events that its system does not tell again in this order")
            sent.popleft()
            if not sent:
                del self._sent[place]
        return left


def read_tail(
    settings: Settings,
    system: str,
    ranges: Mapping[Partition, int],
    versions: Mapping[str, int],
    late: Callable[[str, bytes], None],
) -> TopicTail:
    """What is on these partitions from an offset on. TransientError without Kafka.

    `versions`: topic -> the version up to which the stored position covers it. Events of `system` with such a version
    came late, after newer ones maybe: `late` gets their topic and key. What others wrote is left alone.
    """
    tail = TopicTail()
    for message in _messages(settings, system, ranges):
        version = _version_of(message, system)
        if version is None:
            continue
        topic, _ = part = partition_of(message)
        key, value = bytes_of(message.key()), message.value()
        if version > versions[topic]:
            tail.add(part, message.offset() or 0, key, None if value is None else bytes_of(value), version)
        else:
            late(topic, key)
    return tail


def late_events(
    settings: Settings, system: str, differences: Sequence[Difference], versions: Mapping[str, int]
) -> Iterator[tuple[str, bytes]]:
    """Topic and key of `system`'s events that lie behind newer ones in these partitions. TransientError without Kafka.

    `versions`: topic -> the highest version there before.
    """
    ranges = {(one.topic, one.partition): one.since for one in differences}
    highest = {part: versions[part[0]] for part in ranges}
    for message in _messages(settings, system, ranges):
        version = _version_of(message, system)
        if version is None:
            continue
        part = partition_of(message)
        if version < highest[part]:
            yield part[0], bytes_of(message.key())
        highest[part] = max(highest[part], version)


def _messages(settings: Settings, system: str, ranges: Mapping[Partition, int]) -> Iterator[Message]:
    if not ranges:
        return
    consumer = topic_reader(settings, f"tail-{system}")
    try:
        yield from read_to_end(consumer, [TopicPartition(*part, offset) for part, offset in ranges.items()])
    finally:
        consumer.close()


def _version_of(message: Message, system: str) -> int | None:
    """An event's version; None for what `system` hasn't written."""
    value = message.value()
    if value is None:
        id = next((value for name, value in headers_of(message) if name == EVENT_ID and value), b"")
        return version_of(id)
    frame = bytes_of(value)
    try:
        return open_frame(frame).version if source_of(frame) == system else None
    except (Undecodable, IndexError):
        return None
