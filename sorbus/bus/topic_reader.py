"""Reads topics from given offsets, in order, and says when what is wanted is no longer there."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, cast

from confluent_kafka import KafkaError, TopicPartition
from confluent_kafka import Message as KafkaMessage
from pydantic import JsonValue

from sorbus.bus.committed import CommittedPosition, lost_since
from sorbus.bus.kafka import Partition, admin, as_error, kafka_errors, offset_of, partition_of, topic_reader
from sorbus.bus.topic_facts import TopicFacts, topic_facts
from sorbus.bus.topic_settings import deletes_kept
from sorbus.bus.truncation import CUT_OFF, ReadUpTo, cut_off, read_up_to
from sorbus.errors import AuthError, LostPosition, SorbusError, TransientError
from sorbus.settings import Settings

_AT_ONCE = 2000
_MORE = 0.05
_log = logging.getLogger(__name__)
Offsets = dict[str, list[int]]
"""Topic -> the next offset of each partition."""
Stored = Mapping[str, Mapping[str, object]]
"""Topic -> its part of a stored position, with its `id` and, not in those of earlier releases, `read`."""


class TopicMessage(NamedTuple):
    """A message of a topic. `at`: microseconds since 1970."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    at: int


class ClusterTopics:
    """Facts about topics, over one connection. `missing`: what to do where there is no such topic."""

    def __init__(self, settings: Settings, missing: str) -> None:
        self._settings, self._admin, self._missing = settings, admin(settings), missing

    def facts(self, topics: list[str]) -> dict[str, TopicFacts]:
        """TransientError, also for a topic that isn't there."""
        found = topic_facts(self._admin, topics)
        for topic in topics:
            if topic not in found:
                raise TransientError(f"there is no topic {topic}: {self._missing}")
        return found

    def cut_off(self, facts: Mapping[str, TopicFacts], stored: Stored) -> dict[str, str]:
        """Topic -> how it isn't the one that was read, where an unclean leader election has replaced its end.

        AuthError, TransientError.
        """
        same = {topic: stored[topic] for topic, found in facts.items() if stored.get(topic, {}).get("id") == found.id}
        found = cut_off(self._settings, facts, _last_read(same))
        return {topic: CUT_OFF.format(f"the topic {topic} (partition {number})") for topic, number in sorted(found)}

    def deletes_kept(self, topics: list[str]) -> dict[str, float]:
        """Topic -> the seconds for which it keeps deletes, of those that are compacted. TransientError."""
        try:
            return deletes_kept(self._admin, topics)
        except AuthError as error:
            _log.warning(
                "how long topics keep deletes can't be seen, so deletes that they forgot go unnoticed: grant"
                " DESCRIBE_CONFIGS on them (%s)", error,
            )  # fmt: skip
            return {}


class TopicReader:
    """Reads from these offsets on. `offsets` is to be set back only by a new reader.

    `may_skip`: what is no longer there was read before, so reading begins with what is left; otherwise LostPosition
    with the words that `lost` adds to why.
    """

    def __init__(
        self,
        settings: Settings,
        role: str,
        offsets: Mapping[str, list[int]],
        lost: Callable[[str], str] = str,
        *,
        may_skip: bool = False,
        stored: Stored = MappingProxyType({}),
    ) -> None:
        """`stored`: topic -> its part of a position, which has what `last_read` said."""
        self._lost, self._read = lost, _last_read(stored)
        self.ends: dict[tuple[str, int], int] = {}
        """Topic and partition -> where it was found to end: past the transaction markers, which aren't messages."""
        reset = {"auto.offset.reset": "earliest" if may_skip else "error"}
        self._consumer = topic_reader(
            settings.model_copy(update={"kafka_config": {**settings.kafka_config, **reset}}), role, wait_ms=50
        )
        parts = [TopicPartition(topic, number, at) for topic, ats in offsets.items() for number, at in enumerate(ats)]
        self._left = {(part.topic, part.partition) for part in parts}
        self._failure: SorbusError | None = None
        with kafka_errors("reading topics"):
            self._consumer.assign(parts)

    @property
    def is_at_end(self) -> bool:
        """Whether every partition has been read to its end."""
        return not self._left

    def is_behind(self, topic: str, partition: int) -> bool:
        """Whether a partition isn't known to be read to its end."""
        return (topic, partition) in self._left

    def pause(self, topic: str, partition: int) -> None:
        """Nothing more of this partition comes until `resume`."""
        with kafka_errors("reading topics"):
            self._consumer.pause([TopicPartition(topic, partition)])

    def resume(self, topic: str, partition: int) -> None:
        """Ends a pause."""
        with kafka_errors("reading topics"):
            self._consumer.resume([TopicPartition(topic, partition)])

    def read(self, wait: float) -> Iterator[tuple[str, TopicMessage]]:
        """What comes within `wait` seconds, by topic. TransientError, LostPosition."""
        for message in self.messages(wait):
            yield cast("str", message.topic()), _message(message)

    def messages(self, wait: float) -> Iterator[KafkaMessage]:
        """`read`, as Kafka's client gives them. What came beside a failure is given first: it doesn't come again."""
        self._raise_failure()
        with kafka_errors("reading topics"):
            found = self._consumer.consume(1, max(0.0, wait))
            if found and found[0].error() is None:
                found += self._consumer.consume(_AT_ONCE, _MORE)
        has_given = False
        for message in found:
            failure = message.error()
            if failure is None:
                self._left.add(partition_of(message))
                if (read := read_up_to(message)) is not None:
                    self._read[partition_of(message)] = read
                has_given = True
                yield message
            elif failure.code() == KafkaError._PARTITION_EOF:
                self._left.discard(partition_of(message))
                self.ends[partition_of(message)] = offset_of(message)
            elif failure.code() == KafkaError._AUTO_OFFSET_RESET:
                gone = f"the topic {message.topic()} no longer holds what was not read yet"
                self._failure = LostPosition(self._lost(gone))
            elif self._failure is None:
                self._failure = as_error(failure, f"reading {message.topic()}")
        if not has_given:
            self._raise_failure()

    def last_read(self, topic: str, offsets: Sequence[int]) -> list[JsonValue]:
        """Of each partition, what tells later whether the topic still holds what lies before these offsets."""
        known = [self._read.get((topic, number)) for number in range(len(offsets))]
        return [[min(one.offset, at), one.epoch] if one else None for one, at in zip(known, offsets, strict=True)]

    def close(self) -> None:
        """Leaves the cluster."""
        self._consumer.close()

    def _raise_failure(self) -> None:
        failed, self._failure = self._failure, None
        if failed is not None:
            raise failed


def why_lost(
    topic: str, id: str, offsets: Sequence[int], read_at: Sequence[float], found: TopicFacts, kept: float | None
) -> str:
    """How a topic isn't the one that was read, or has forgotten deletes; "" if all is there."""
    if len(offsets) > len(found.begins):
        return f"the topic {topic} has {len(found.begins)} partitions and had {len(offsets)}"
    for number, (offset, at) in enumerate(zip(offsets, read_at, strict=True)):
        if why := lost_since(CommittedPosition(offset, id, at), found, number, kept):
            return why.format(f"the topic {topic} (partition {number})")
    return ""


def _last_read(stored: Stored) -> dict[Partition, ReadUpTo]:
    read = {topic: cast("list[list[int] | None]", part.get("read") or []) for topic, part in stored.items()}
    return {(topic, number): ReadUpTo(*one) for topic, all in read.items() for number, one in enumerate(all) if one}


def _message(message: KafkaMessage) -> TopicMessage:
    _, millis = message.timestamp()
    at = millis * 1000 if millis > 0 else time.time_ns() // 1000
    key, value = message.key(), message.value()
    return TopicMessage(
        partition_of(message)[1],
        offset_of(message),
        key.encode() if isinstance(key, str) else key,
        value.encode() if isinstance(value, str) else value,
        at,
    )
