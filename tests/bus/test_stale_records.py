"""What a topic holds, directly after a transaction was committed: its markers may not be there yet."""

from __future__ import annotations

import threading

import pytest
from confluent_kafka.admin import NewTopic

from sorbus.bus.kafka import admin, transactional_producer
from sorbus.bus.names import Names
from sorbus.bus.stale_records import stale_keys
from sorbus.bus.topic_facts import topic_facts
from sorbus.bus.topic_ownership import held
from sorbus.event import event_encoder
from sorbus.ops.embedded import Addresses
from sorbus.settings import Settings
from tests.topics import make_topics


@pytest.mark.parametrize("what", ["stale records", "a former owner's version"])
@pytest.mark.parametrize("is_committed", [True, False])
def test_what_a_transaction_holds_whose_marker_is_still_to_come_is_waited_for(
    stack: Addresses, unique: str, is_committed: bool, what: str
) -> None:
    settings, names = Settings(kafka=stack.kafka, registry=""), Names(f"{unique}.")
    topic, client = names.topic("thing"), admin(settings)
    make_topics(client, NewTopic(topic, 1, 1))
    event = event_encoder(b"\xc3\x01" + bytes(8), "shop", "thing")
    producer = transactional_producer(settings, unique)
    producer.init_transactions(30)

    def write(version: int) -> None:
        value, headers = event(b"1", version, 0, 0, b"")
        producer.begin_transaction()
        producer.produce(topic, value, b"1", headers=headers)
        assert producer.flush(30) == 0

    write(1)
    producer.commit_transaction(30)
    write(7)
    ends = topic_facts(client, [topic])[topic].ends
    found: list[object] = []

    def read() -> None:
        if what == "stale records":
            found.append(list(stale_keys(settings, topic, 7, ends)))
        else:
            found.append(held(settings, topic, ends).version)

    reading = threading.Thread(target=read)
    reading.start()
    reading.join(1.0)
    assert reading.is_alive(), f"it didn't wait: {found}"
    if is_committed:
        producer.commit_transaction(30)
    else:
        producer.abort_transaction(30)
    reading.join(30)
    if what == "stale records":
        assert found == [[] if is_committed else [b"1"]]
    else:
        assert found == [7 if is_committed else 1]
