"""What happens to topics in the field: other settings, and messages that are removed, as retention does."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TypeVar, cast

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, OffsetSpec

from sorbus.bus.kafka import admin
from sorbus.bus.topic_facts import topic_ids
from sorbus.settings import Settings
from tests.ops.console.visitor import eventually

T = TypeVar("T")
ALL = (-1, -1)
"""As `ends` of a topic of two partitions: all that there is."""


def set_topic(settings: Settings, topic: str, **config: str) -> None:
    """Changes a topic's settings; `cleanup_policy` is cleanup.policy."""
    entries = [
        ConfigEntry(name.replace("_", "."), value, incremental_operation=AlterConfigOpType.SET)
        for name, value in config.items()
    ]
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=entries)
    client = admin(settings)
    for future in client.incremental_alter_configs([resource]).values():
        future.result(30)


def until_known(client: AdminClient, topic: str, partitions: int = 1) -> None:
    """Until a topic that was made, or has more partitions now, is told of so: a moment after Kafka has confirmed it."""
    eventually(lambda: topic_ids(client, [topic]).get(topic, ("", 0))[1] >= partitions, f"{topic} isn't known")


def make_topics(client: AdminClient, *topics: NewTopic) -> None:
    """Makes them, and waits until each is known."""
    for future in client.create_topics([*topics]).values():
        future.result(30)
    for each in topics:
        until_known(client, each.topic, each.num_partitions)


def delete_topic(client: AdminClient, topic: str) -> None:
    """Deletes it, and waits until nobody is told of it any more."""
    client.delete_topics([topic])[topic].result(30)
    eventually(lambda: topic not in topic_ids(client, [topic]), f"{topic} isn't deleted")


def delete_messages(settings: Settings, topic: str, ends: Sequence[int] = ALL) -> None:
    """Those before these offsets. Kafka deletes records only where the policy says so, a moment after it does."""
    set_topic(settings, topic, cleanup_policy="compact,delete")
    client, deadline = admin(settings), time.monotonic() + 30
    while True:
        asked = client.delete_records([TopicPartition(topic, part, before) for part, before in enumerate(ends)])
        try:
            for future in asked.values():
                future.result(30)
            return
        except KafkaException as error:
            if error.args[0].code() != KafkaError.POLICY_VIOLATION or time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def lose_first_half(settings: Settings, topic: str) -> None:
    """Removes the first half of each of two partitions."""
    parts = {TopicPartition(topic, number): OffsetSpec.latest() for number in (0, 1)}  # type: ignore[no-untyped-call]
    # Not into a transaction that a dead producer has left open: nobody could read the topic before that times out.
    client, deadline = admin(settings), time.monotonic() + 60
    while True:
        asked = client.list_offsets(parts, isolation_level=IsolationLevel.READ_COMMITTED)
        try:
            ends = [each.result(10).offset // 2 for each in asked.values()]
            break
        except (KafkaException, TimeoutError):  # a new topic's leader isn't known everywhere at once
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    delete_messages(settings, topic, ends)


def led_by_another(position: T) -> T:
    """A stored position as if another leader had written what was read last, of whom Kafka knows nothing any more."""
    if isinstance(position, dict):
        changed = {
            key: [one and [one[0], 77] for one in value] if key == "read" and value else led_by_another(value)
            for key, value in position.items()
        }
        assert changed.get("read") != [], "nothing was read"
        return cast("T", changed)
    return position
