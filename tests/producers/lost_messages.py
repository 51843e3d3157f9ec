"""Somebody removes messages of a topic, as retention does."""

from __future__ import annotations

import time

from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import OffsetSpec

from sorbus.bus.kafka import admin
from tests.producers.shop import Shop
from tests.producers.test_owner_moves import delete_messages


def lose_first_half(shop: Shop, topic: str) -> None:
    """Removes the first half of each partition."""
    parts = {TopicPartition(topic, number): OffsetSpec.latest() for number in (0, 1)}  # type: ignore[no-untyped-call]
    # Not into a transaction that a dead producer has left open: nobody could read the topic before that times out.
    client, end = admin(shop.settings), time.monotonic() + 60
    while True:
        asked = client.list_offsets(parts, isolation_level=IsolationLevel.READ_COMMITTED)
        try:
            ends = [each.result(10).offset // 2 for each in asked.values()]
            break
        except (KafkaException, TimeoutError):  # a new topic's leader isn't known everywhere at once
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
    delete_messages(shop, topic, ends)
