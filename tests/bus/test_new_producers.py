"""A new producer sends as soon as it is connected: librdkafka alone would wait half a second for its producer id."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

from confluent_kafka import Consumer

from sorbus.bus.kafka import all_partitions, idempotent_producer, read_to_end, topic_reader
from sorbus.bus.publisher import Publisher
from sorbus.bus.sending import Single, send
from sorbus.settings import Settings

_TRIES, _LIBRDKAFKA_LOOKS_EVERY = 5, 0.5


def seconds(action: Callable[[], object]) -> float:
    """How long it takes, in the middle of some tries: the machine may be busy."""
    taken = []
    for _ in range(_TRIES):
        began = time.monotonic()
        action()
        taken.append(time.monotonic() - began)
    return median(taken)


def test_a_new_producers_first_message_is_sent_at_once(settings: Settings, topic: str) -> None:
    def first() -> None:
        send(idempotent_producer(settings, "test"), [Single(topic, b"key", b"value")], "testing")

    assert seconds(first) < _LIBRDKAFKA_LOOKS_EVERY
    reader: Consumer = topic_reader(settings, "test")
    assert len(list(read_to_end(reader, all_partitions(reader, topic)))) == _TRIES
    reader.close()


def test_a_producer_of_transactions_begins_at_once(settings: Settings, topic: str) -> None:
    def take_over() -> None:
        publisher = Publisher(settings, topic)
        publisher.produce(topic, b"key", b"value")
        publisher.commit()

    assert seconds(take_over) < _LIBRDKAFKA_LOOKS_EVERY
