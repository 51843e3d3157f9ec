"""Which records have changed since a reconciliation, by their topic."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource

from sorbus.bus.kafka import admin, all_partitions, bytes_of, kafka_errors, read_to_end, topic_reader
from sorbus.bus.topic_facts import topic_ids
from sorbus.errors import UsageError
from sorbus.ops.monitoring.offsets import ends, partitions_of
from sorbus.settings import Settings

_LONGEST = 10**14
"""Milliseconds that a timedelta can hold; Kafka takes more."""
TopicEnds = dict[str, int | str]
"""Where each partition (its number as text) ended, and under `topic` the topic's id in Kafka."""
_ID = "topic"


def changed_ids(settings: Settings, topic: str, since: Mapping[str, int | str], at: datetime) -> dict[str, None]:
    """The ids of records with events behind `since` (from `topic_ends`, taken `at`), in order.

    UsageError where the topic no longer holds all of them, or was recreated; TransientError, AuthError.
    """
    client = admin(settings)
    now = topic_ids(client, [topic]).get(topic)
    if now is None:
        raise _gone(topic)
    if now[0] != since.get(_ID):
        raise UsageError(f"{topic} was recreated since the last whole comparison: compare the whole flow")
    kept = _deletes_kept(client, topic)
    if datetime.now(UTC) - at > kept:
        raise UsageError(
            f"the last whole comparison was on {at:%Y-%m-%d %H:%M %Z}, and {topic} holds deletes for {kept} only:"
            " compare the whole flow"
        )
    reader = topic_reader(settings, "reconcile-changed")
    try:
        parts = all_partitions(reader, topic)
        with kafka_errors(f"measuring {topic}"):
            for part in parts:
                low, high = reader.get_watermark_offsets(part, timeout=15.0)
                part.offset = int(since.get(str(part.partition), 0))
                if not low <= part.offset <= high:
                    raise UsageError(
                        f"{topic} no longer holds what has changed since (partition {part.partition} begins at offset"
                        f" {low:,}, ends at {high:,}, was at {part.offset:,}): compare the whole flow"
                    )
        return {
            bytes_of(message.key()).decode(errors="surrogateescape"): None for message in read_to_end(reader, parts)
        }
    finally:
        with kafka_errors("closing a reader"):
            reader.close()


def _deletes_kept(client: AdminClient, topic: str) -> timedelta:
    """How long a compacted topic keeps the trace of a delete."""
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    with kafka_errors(f"reading the settings of {topic}"):
        try:
            found = client.describe_configs([resource])[resource].result(timeout=15.0)
        except KafkaException as error:
            if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:  # not every broker had heard of it just now
                raise _gone(topic) from error
            raise
    return timedelta(milliseconds=min(int(found["delete.retention.ms"].value), _LONGEST))


def _gone(topic: str) -> UsageError:
    return UsageError(f"there is no topic {topic} any more: compare the whole flow")


def topic_ends(settings: Settings, topic: str) -> TopicEnds:
    """Where each partition ends now, and which topic it is. TransientError, AuthError."""
    client = admin(settings)
    found: TopicEnds = {_ID: topic_ids(client, [topic]).get(topic, ("", 0))[0]}
    parts = partitions_of(client, [topic]).get(topic, [])
    return found | {str(number): end for (_, number), end in ends(client, parts).items()}
