"""A transaction that somebody leaves open on a topic hides all that comes after it from every flow: that is said."""

from __future__ import annotations

import time

import pytest
from confluent_kafka import Producer

from sorbus.bus.kafka import base_config
from sorbus.bus.names import Names
from sorbus.settings import Settings
from tests.consumers.line import eventually
from tests.ops.test_watch import Open, company, names, open_watch, settings, topics

__all__ = ["company", "names", "open_watch", "settings", "topics"]


@pytest.mark.parametrize("of", ["order", "order.dlq", "order-to-books.requeue"])
@pytest.mark.parametrize(("age", "is_said"), [(600, True), (0, False)])
def test_events_behind_an_open_transaction_are_a_finding(
    open_watch: Open, topics: Names, settings: Settings, of: str, age: int, is_said: bool
) -> None:
    topic, written = f"{topics.prefix}{of}", int(1000 * (time.time() - age))
    assert topic in {topics.topic("order"), topics.dead_letters("order"), topics.requeue("order-to-books")}
    foreign = Producer({**base_config(settings, "foreign"), "transactional.id": f"foreign-{topic}"})
    foreign.init_transactions()
    foreign.begin_transaction()
    foreign.produce(topic, b"theirs", key=b"x", partition=0, timestamp=written)
    foreign.flush(30)
    ours = Producer(base_config(settings, "ours"))
    for number in range(5):
        ours.produce(topic, b"value", key=b"%d" % number, partition=0)
    ours.flush(30)
    watch = open_watch()

    def said() -> list[str]:
        return [one for one in watch.measure().complaints() if "a transaction has been open" in one]

    found = said()
    assert [one.startswith(f"{topic} (partition 0): ") and "6 offsets" in one for one in found] == [True] * is_said
    foreign.abort_transaction()  # Kafka writes its marker a moment later
    eventually(lambda: not said(), "that nothing is said once it has ended", 20)
