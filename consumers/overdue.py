"""Since when what a flow hasn't read has waited: a run that was missed is known by what it would have delivered."""

from __future__ import annotations

import time
from collections.abc import Mapping

from confluent_kafka import Consumer, KafkaError, TopicPartition

from sorbus.bus.kafka import Partition, as_error, kafka_errors, partition_of, topic_reader
from sorbus.errors import TransientError
from sorbus.settings import Settings

_PATIENCE = 10.0


def first_unread(settings: Settings, offsets: Mapping[Partition, int]) -> float | None:
    """When the first message from these offsets on was written (seconds since 1970); None if there is none.

    TransientError, AuthError.
    """
    reader = topic_reader(settings, "overdue")
    try:
        return _first(reader, offsets)
    finally:
        with kafka_errors("closing a reader"):
            reader.close()


def _first(reader: Consumer, offsets: Mapping[Partition, int]) -> float | None:
    found: list[float] = []
    left, deadline = set(offsets), time.monotonic() + _PATIENCE
    with kafka_errors("looking for what is overdue"):
        reader.assign([TopicPartition(*part, offset) for part, offset in offsets.items()])
        while left:
            if time.monotonic() > deadline:
                raise TransientError(f"looking for what is overdue in {sorted(left)}: Kafka sent nothing for a while")
            for message in reader.consume(50, 0.1):
                failure = message.error()
                part = partition_of(message)
                if failure is None:
                    if part in left:
                        found.append(message.timestamp()[1] / 1000)
                elif failure.code() != KafkaError._PARTITION_EOF:
                    raise as_error(failure, f"looking for what is overdue in {message.topic()}")
                left.discard(part)
    return min(found, default=None)
