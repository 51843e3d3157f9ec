"""A producer's events outside transactions: sent at once, recognized after a crash, and watched for other writers.

Why this loses and doubles nothing: docs/decisions/0089-single-changes-go-without-a-transaction.md.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from sorbus.abilities import SupportsRefetch, SupportsRepeat
from sorbus.bus.direct_publisher import DirectPublisher
from sorbus.bus.publisher import Outgoing, message_bytes
from sorbus.bus.topic_ends import ENDS_KEY, Difference, TopicEnds
from sorbus.bus.topic_facts import TopicFacts
from sorbus.bus.topic_tail import Diverged, late_events, read_tail
from sorbus.connector import Batch, Position, Producer
from sorbus.errors import TransientError
from sorbus.producers.counted_ends import settled
from sorbus.producers.own_topics import OwnTopics
from sorbus.settings import Settings

_FEW, _BYTES = 500, 500_000
"""Up to so many messages, and bytes, go without a transaction: of more it costs little."""
_log = logging.getLogger(__name__)


class DirectEvents:
    """One session's. `open` it after the producer, which keeps its predecessor from reading on."""

    def __init__(self, topics: OwnTopics, settings: Settings, producer: Producer, is_stopping: Callable[[], bool]):
        self._topics, self._settings, self._producer = topics, settings, producer
        self._is_stopping = is_stopping
        self._publisher: DirectPublisher | None = None

    def open(self) -> None:
        """Reads what lies behind the stored position. TransientError."""
        producer, facts = self._producer, self._topics.facts()
        assert isinstance(producer, SupportsRepeat)
        self._ends = TopicEnds(facts)
        self._versions = self._given()
        stored = self._topics.stored_ends()
        self._is_stored = stored.keys() >= facts.keys()
        ranges = {
            (topic, number): end
            for topic, ends in stored.items()
            if topic in facts
            for number, (end, now) in enumerate(zip(ends, facts[topic].ends, strict=False))
            if end < now
        }
        self._tail = read_tail(self._settings, self._topics.system, ranges, self._versions, self._read_again)
        if self._tail:
            _log.info("%s: %d events behind the stored position", self._topics.system, len(self._tail))
            producer.repeat_while(lambda: self.is_behind)

    @property
    def is_behind(self) -> bool:
        """Whether there are events that the source has not given again."""
        return bool(self._tail)

    def unpublished(self, messages: Sequence[Outgoing]) -> list[int] | None:
        """Which of these aren't on their topics; None: all. TransientError when what is there doesn't come again."""
        if not self._tail:
            return None
        try:
            return self._tail.unpublished(messages, self._ends.partition)
        except Diverged as error:
            self._topics.diverged(error.topic, str(error))
            raise

    def passed(self, position: Position) -> None:
        """The source has been read up to here. TransientError when something that is on a topic hasn't come again."""
        producer = self._producer
        assert isinstance(producer, SupportsRepeat)
        for topic in self._tail.topics:
            data_type = self._topics.data_types[topic]
            if producer.has_passed(position, self._tail.version + 1, data_type):
                why = f"topic {topic} holds events that its system does not tell again: it was restored, perhaps"
                self._topics.diverged(topic, why)
                raise TransientError(why, retry_after=1.0)

    def takes(self, batch: Batch, messages: Sequence[Outgoing]) -> bool:
        """Whether these may go without a transaction, and gain by it.

        Not before a position says where each topic ended: a successor wouldn't know which events lie behind it.
        """
        if not (self._is_stored and batch.is_repeatable) or len(messages) > _FEW:
            return False
        if any(
            message_bytes(key, value, headers) > self._topics.largest.get(of, _BYTES)
            for of, key, value, headers in messages
        ):
            return False  # the next would be there without it
        return sum(len(value) for _, _, value, _ in messages if value is not None) <= _BYTES

    def send(self, messages: Sequence[Outgoing]) -> None:
        """Publishes these. TransientError."""
        if self._publisher is None:
            role = f"{self._topics.system}-direct"
            self._publisher = DirectPublisher(self._settings, role, self._ends, self._is_stopping)
        self._publisher.send(messages)

    def flush(self) -> None:
        """Waits until Kafka has all that was sent. TransientError."""
        if self._publisher is not None:
            self._publisher.flush()

    def poll(self) -> None:
        """TransientError for what could not be delivered."""
        if self._publisher is not None:
            self._publisher.poll()

    def added(self, messages: Sequence[Outgoing]) -> None:
        """These are part of the transaction in progress."""
        self._ends.added(messages)

    def committed(self) -> None:
        """The transaction in progress, with a position, was committed."""
        self._ends.committed()
        self._is_stored = True

    def stored(self, position: Position) -> Position:
        """The position with where the topics end after the transaction in progress."""
        return {**position, ENDS_KEY: self._ends.to_json(self._tail.begins)}

    def compare(self, facts: Mapping[str, TopicFacts]) -> None:
        """Looks for what others have written while nothing is in flight. TransientError, also for what Kafka has lost.

        A predecessor's event that arrives late may be older than what it is the last of: such records are read again.
        """
        differences, facts = settled(self._ends, self._topics, facts)
        self._find_late(differences)
        self._ends.looked(facts)
        self._versions = self._given()

    def close(self) -> None:
        """Sends no more."""
        if self._publisher is not None:
            self._publisher.close()

    def _find_late(self, differences: Sequence[Difference]) -> None:
        found = 0
        for topic, key in late_events(self._settings, self._topics.system, differences, self._versions):
            self._read_again(topic, key)
            found += 1
        for one in differences:
            others = one.found - one.expected
            _log.warning("topic %s (partition %d) holds %d messages of others", one.topic, one.partition, others)
        if found:
            _log.warning(
                "%s: %d events of a predecessor came late: their records are read again", self._topics.system, found
            )

    def _read_again(self, topic: str, key: bytes) -> None:
        if isinstance(self._producer, SupportsRefetch):
            self._producer.reread(self._topics.data_types[topic], [key])

    def _given(self) -> dict[str, int]:
        return {topic: self._topics.version(name) for topic, name in self._topics.data_types.items()}


def direct_events(
    topics: OwnTopics, settings: Settings, producer: Producer, is_stopping: Callable[[], bool]
) -> DirectEvents | None:
    """For a producer that can repeat what it has read; None for others, or where Kafka's client chooses partitions."""
    if not isinstance(producer, SupportsRepeat) or "partitioner" in settings.kafka_config:
        return None
    return DirectEvents(topics, settings, producer, is_stopping)
