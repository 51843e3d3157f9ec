"""All messages of one record on a topic, read from the partition that its key belongs to."""

from __future__ import annotations

import zlib

from confluent_kafka import Consumer, Message, TopicPartition

from sorbus.bus.kafka import all_partitions, bytes_of, read_to_end, topic_reader
from sorbus.settings import Settings

_BY_CRC = ("consistent", "consistent_random")
"""librdkafka's partitioners that use a key's CRC-32; the second is its default."""


def messages_of(settings: Settings, topic: str, key: bytes, role: str) -> list[Message]:
    """Everything that is left of a key on a topic, oldest first; on a compacted topic that may be its last event only.

    If the key's own partition has nothing, the others are read: a topic whose partition count grew holds older events
    elsewhere. TransientError without Kafka.
    """
    reader = topic_reader(settings, role)
    try:
        partitions = all_partitions(reader, topic)
        own = [part for part in partitions if part.partition == partition_of_key(settings, key, len(partitions))]
        others = [part for part in partitions if part not in own]
        for chosen in (own, others):
            found = _of_key(reader, chosen, key)
            if found:
                return found
    finally:
        reader.close()
    return []


def _of_key(reader: Consumer, partitions: list[TopicPartition], key: bytes) -> list[Message]:
    if not partitions:
        return []
    found = [message for message in read_to_end(reader, partitions) if bytes_of(message.key()) == key]
    return sorted(found, key=lambda message: (message.timestamp()[1], message.offset() or 0))


def partition_of_key(settings: Settings, key: bytes, count: int) -> int | None:
    """The partition that our producers write the key to; None if one of the operator's settings decides."""
    partitioner = settings.kafka_config.get("partitioner", _BY_CRC[1])
    return zlib.crc32(key) % count if count and partitioner in _BY_CRC else None
