"""Reading a topic to its end, from a Kafka that is slow, and from one that is silent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import pytest
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from sorbus.bus.kafka import read_to_end
from sorbus.errors import TransientError


class Slow:
    """Gives one message after so many seconds without any, as to a reader that Kafka throttles; then the end."""

    def __init__(self, messages: int, pause: int) -> None:
        self._answers = self._given(messages, pause)

    @staticmethod
    def _given(messages: int, pause: int) -> Iterator[list[Message]]:
        for number in range(messages):
            yield from [[]] * pause
            yield [Message(topic="t", partition=0, offset=number, key=b"k", value=b"v")]
            yield []  # nothing more came with it
        yield from [[]] * pause
        yield [Message(topic="t", partition=0, offset=messages, error=KafkaError(KafkaError._PARTITION_EOF))]
        yield from iter(list, [None])

    def consume(self, num_messages: int, timeout: float) -> list[Message]:
        return next(self._answers)

    def assign(self, partitions: list[TopicPartition]) -> None:
        """All of them."""

    def unassign(self) -> None:
        """None of them."""


def test_a_topic_that_comes_slowly_is_read_to_its_end() -> None:
    slow = cast("Consumer", Slow(20, 4))
    assert len(list(read_to_end(slow, [TopicPartition("t", 0)], patience=10))) == 20


def test_a_topic_that_doesnt_come_is_said() -> None:
    silent = cast("Consumer", Slow(1, 10))
    with pytest.raises(TransientError, match="sent nothing for a while"):
        list(read_to_end(silent, [TopicPartition("t", 0)], patience=10))
