"""Which records have changed since a comparison: told only where the topic holds everything that happened since."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from sorbus.bus.kafka import admin, idempotent_producer
from sorbus.bus.topic_facts import topic_ids
from sorbus.errors import UsageError
from sorbus.ops.embedded import Addresses
from sorbus.ops.reconcile import changed
from sorbus.ops.reconcile.changed import changed_ids, topic_ends
from sorbus.settings import Settings
from tests.topics import delete_topic, make_topics, until_known

NOW = datetime.now(UTC)


@pytest.fixture
def settings(stack: Addresses) -> Settings:
    return Settings(kafka=stack.kafka)


def _make(client: AdminClient, topic: str, **config: str) -> None:
    made = NewTopic(topic, 2, 1, config={"cleanup.policy": "compact", **config})
    make_topics(client, made)
    until_known(client, topic)


def _write(settings: Settings, topic: str, *ids: str) -> None:
    producer = idempotent_producer(settings, "test")
    for id in ids:
        producer.produce(topic, b"event", id.encode())
    producer.flush(15)


def test_records_with_events_since_are_told(settings: Settings, unique: str) -> None:
    _make(admin(settings), unique)
    _write(settings, unique, "a", "b")
    since = topic_ends(settings, unique)
    _write(settings, unique, "b", "c", "b")
    assert set(changed_ids(settings, unique, since, NOW)) == {"b", "c"}


def test_a_recreated_topic_is_refused_although_its_offsets_fit(settings: Settings, unique: str) -> None:
    client = admin(settings)
    _make(client, unique)
    _write(settings, unique, "a")
    since = topic_ends(settings, unique)
    delete_topic(client, unique)
    with pytest.raises(UsageError, match="no topic"):
        changed_ids(settings, unique, since, NOW)
    _make(client, unique)
    _write(settings, unique, "a", "b", "c")
    with pytest.raises(UsageError, match="recreated"):
        changed_ids(settings, unique, since, NOW)


def test_a_topic_that_goes_while_it_is_asked_about_is_gone(
    settings: Settings, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = admin(settings)
    _make(client, unique)
    since, known = topic_ends(settings, unique), topic_ids(client, [unique])
    delete_topic(client, unique)
    monkeypatch.setattr(changed, "topic_ids", lambda *_: known)  # a broker that hasn't heard of it yet
    with pytest.raises(UsageError, match="no topic"):
        changed_ids(settings, unique, since, NOW)


def test_a_topic_that_lost_what_happened_since_is_refused(settings: Settings, unique: str) -> None:
    client = admin(settings)
    _make(client, unique, **{"cleanup.policy": "compact,delete"})
    _write(settings, unique, "a")
    since = topic_ends(settings, unique)
    _write(settings, unique, *(str(number) for number in range(50)))
    ends = topic_ends(settings, unique)
    parts = [TopicPartition(unique, number, int(ends[str(number)])) for number in (0, 1)]
    for done in client.delete_records(parts).values():
        done.result(15)
    with pytest.raises(UsageError, match="no longer holds"):
        changed_ids(settings, unique, since, NOW)


def test_deletes_that_the_topic_may_have_forgotten_are_not_guessed(settings: Settings, unique: str) -> None:
    _make(admin(settings), unique, **{"delete.retention.ms": str(3_600_000)})
    _write(settings, unique, "a")
    since = topic_ends(settings, unique)
    assert changed_ids(settings, unique, since, datetime.now(UTC) - timedelta(minutes=50)) == {}
    with pytest.raises(UsageError, match="holds deletes for 1:00:00 only"):
        changed_ids(settings, unique, since, datetime.now(UTC) - timedelta(minutes=70))
