"""Which records have changed since a reconciliation, by their topic."""

from __future__ import annotations

from collections.abc import Mapping

from confluent_kafka import TopicPartition

from sorbus.bus.kafka import admin, all_partitions, bytes_of, kafka_errors, read_to_end, topic_reader
from sorbus.errors import UsageError
from sorbus.ops.monitoring.offsets import ends, partitions_of
from sorbus.settings import Settings


def changed_ids(settings: Settings, topic: str, since: Mapping[str, int]) -> dict[str, None]:
    """The ids of records with events behind the offsets `since` (by partition), in order.

    UsageError where the topic no longer holds all of them; TransientError, AuthError.
    """
    reader = topic_reader(settings, "reconcile-changed")
    try:
        parts = all_partitions(reader, topic)
        with kafka_errors(f"measuring {topic}"):
            for part in parts:
                low, high = reader.get_watermark_offsets(part, timeout=15.0)
                begin = since.get(str(part.partition), 0)
                if begin < low or begin > high:
                    raise UsageError(
                        f"{topic} no longer holds what has changed since (partition {part.partition} begins at offset"
                        f" {low:,}, ends at {high:,}, was at {begin:,}): compare the whole flow"
                    )
        starts = [TopicPartition(topic, part.partition, since.get(str(part.partition), 0)) for part in parts]
        return {bytes_of(message.key()).decode(errors="replace"): None for message in read_to_end(reader, starts)}
    finally:
        with kafka_errors("closing a reader"):
            reader.close()


def topic_ends(settings: Settings, topic: str) -> dict[int, int]:
    """Where each partition ends now. TransientError, AuthError."""
    client = admin(settings)
    parts = partitions_of(client, [topic]).get(topic, [])
    return {number: end for (_, number), end in ends(client, parts).items()}
