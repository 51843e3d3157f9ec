"""Closing a reader ends within seconds, though Kafka's client may deadlock in it."""

from __future__ import annotations

import logging
import random
import threading
import time

import pytest
from confluent_kafka import TopicPartition

from sorbus.bus import closing
from sorbus.bus.kafka import admin, group_consumer, idempotent_producer, topic_reader
from sorbus.settings import Settings


def test_a_close_that_hangs_is_left_behind(
    settings: Settings, topic: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(closing, "_CLOSING", 0.5)
    come, go = threading.Event(), threading.Event()
    consumer = group_consumer(settings, topic)
    consumer.subscribe([topic], on_assign=lambda *_: come.set(), on_revoke=lambda *_: go.wait(30))
    deadline = time.monotonic() + 30
    while not come.is_set():
        assert time.monotonic() < deadline, "no partitions came"
        consumer.poll(0.2)
    try:
        with caplog.at_level(logging.WARNING):
            began = time.monotonic()
            consumer.close()
        assert time.monotonic() - began < 5
        assert "left behind" in caplog.text
    finally:
        go.set()


def test_what_fails_in_a_close_is_raised(settings: Settings, topic: str) -> None:
    def fails(*_: object) -> None:
        raise ValueError("it failed")

    come = threading.Event()
    consumer = group_consumer(settings, topic)
    consumer.subscribe([topic], on_assign=lambda *_: come.set(), on_revoke=fails)
    deadline = time.monotonic() + 30
    while not come.is_set():
        assert time.monotonic() < deadline, "no partitions came"
        consumer.poll(0.2)
    with pytest.raises(ValueError, match="it failed"):
        consumer.close()


@pytest.mark.slow
def test_thousands_of_readers_of_lost_messages_are_closed_at_any_moment(
    settings: Settings, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the limit one of about 1,500 hangs for good."""
    monkeypatch.setattr(closing, "_CLOSING", 3.0)
    producer = idempotent_producer(settings, "test")
    for value in (b"1", b"2"):
        producer.produce(topic, value)
    producer.flush(30)
    client = admin(settings)
    for future in client.delete_records([TopicPartition(topic, 0, 1)]).values():
        future.result(30)
    chance = random.Random(1)
    for _ in range(5000):
        reader = topic_reader(settings, "test", wait_ms=50)
        reader.assign([TopicPartition(topic, 0, 0)])
        time.sleep(chance.random() / 100)
        began = time.monotonic()
        reader.close()
        assert time.monotonic() - began < 10
