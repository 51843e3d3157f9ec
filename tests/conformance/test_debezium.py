"""Our connector for Debezium's topics passes the conformance suite, with topics in a real Kafka."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
import stamina
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from sorbus.bus.cluster import KafkaConnection
from sorbus.bus.topic_reader import ClusterTopics
from sorbus.conformance import ProducerConformance, Source, Thing
from sorbus.conformance.in_memory_bus import InMemoryBus
from sorbus.errors import TransientError
from sorbus.ops.embedded import Addresses
from sorbus.producers.debezium.producer import DebeziumProducer
from tests.topics import make_topics

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
COLUMNS = [
    {"field": "id", "type": "string"},
    {"field": "name", "type": "string"},
    {"field": "note", "type": "string", "optional": True},
    {"field": "amount", "type": "bytes", "optional": True, "name": "org.apache.kafka.connect.data.Decimal",
     "parameters": {"scale": "4"}},
    {"field": "count", "type": "int64", "optional": True},
    {"field": "active", "type": "boolean", "optional": True},
    {"field": "made_on", "type": "int32", "optional": True, "name": "io.debezium.time.Date"},
    {"field": "seen_at", "type": "string", "optional": True, "name": "io.debezium.time.ZonedTimestamp"},
]  # fmt: skip
ENVELOPE = {
    "type": "struct",
    "fields": [{"type": "struct", "field": part, "optional": True, "fields": COLUMNS} for part in ("before", "after")],
}
KEY = {"type": "struct", "fields": [{"field": "id", "type": "string"}]}


def decimal(value: Decimal, scale: int = 4) -> str:
    """As JsonConverter writes it."""
    unscaled = int(value.scaleb(scale))
    return base64.b64encode(unscaled.to_bytes(unscaled.bit_length() // 8 + 1, "big", signed=True)).decode()


def written(value: object) -> object:
    """A value as Debezium writes it."""
    if isinstance(value, Decimal):
        return decimal(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return (value - date(1970, 1, 1)).days if isinstance(value, date) else value


class TopicThings(Source):
    """Things in a topic, as a Debezium connector writes them: with a schema in each message."""

    connector = DebeziumProducer
    patience = 30.0

    def __init__(self, kafka: str, topic: str, partitions: int = 3) -> None:
        self.topic = topic
        self.connection = {"servers": kafka}
        self.options: dict[str, object] = {"topic": topic}
        self.admin = AdminClient({"bootstrap.servers": kafka})
        make_topics(self.admin, NewTopic(topic, partitions, 1))
        for attempt in stamina.retry_context(on=TransientError, timeout=20):  # until its partitions have leaders
            with attempt:
                ClusterTopics(KafkaConnection.model_validate(self.connection).settings(), "").facts([topic])
        self.out = Producer({"bootstrap.servers": kafka, "linger.ms": 0})
        self.live: set[str] = set()

    def put(self, things: Mapping[str, Thing]) -> None:
        for id, thing in things.items():
            after = {"id": id, **{name: written(value) for name, value in thing.items()}}
            after = {**{str(one["field"]): None for one in COLUMNS}, **after}
            self.say(id, {"op": "u" if id in self.live else "c", "before": None, "after": after})
            self.live.add(id)
        self.out.flush(30)

    def remove(self, id: str) -> None:
        self.say(id, {"op": "d", "before": {"id": id}, "after": None})
        self.send(id, None)
        self.live.discard(id)
        self.out.flush(30)

    def spoil(self, id: str) -> None:
        blank = {str(one["field"]): None for one in COLUMNS}
        after = {**blank, "id": id, "name": "spoilt", "made_on": 9_999_999}
        self.say(id, {"op": "u", "before": None, "after": after})
        self.out.flush(30)

    def say(self, id: str, payload: Mapping[str, object]) -> None:
        source = {"ts_ms": time.time_ns() // 1_000_000, "lsn": 1}
        self.send(
            id, json.dumps({"schema": ENVELOPE, "payload": {**payload, "source": source}}, ensure_ascii=False).encode()
        )

    def send(self, id: str, value: bytes | None) -> None:
        key = json.dumps({"schema": KEY, "payload": {"id": id}}).encode()
        self.out.produce(self.topic, value, key)
        self.out.poll(0)


class TestTopic(ProducerConformance):
    @pytest.fixture
    def source(self, stack: Addresses, unique: str) -> Source:
        return TopicThings(stack.kafka, f"{unique}.erp.things")

    def test_one_bad_record_never_holds_the_others(self, tape: InMemoryBus) -> None:
        """A topic keeps what was before: the bad record has never been a good one here."""
        things = self._things(tape.source, 20)
        bad = list(things)[7]
        tape.source.spoil(bad)
        good = {id: one for id, one in things.items() if id != bad}
        tape.source.put(good)
        tape.until_live(good)
        tape.until(lambda: bad in tape.rejected, lambda: f"a reject of {bad}: {tape.rejected}")
        tape.source.put({bad: things[bad]})
        tape.until_live(things)
        assert bad not in tape.rejected
