"""Our topics for other consumers pass the conformance suite, read by other libraries than those that write them."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar

import fastavro
import httpx
import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

from sorbus.conformance import ConsumerConformance, Target, Thing
from sorbus.consumers.kafka.consumer import KafkaConsumer
from sorbus.ops.embedded import Addresses
from tests.conformance.test_postgres import away


def messages(servers: str, topic: str) -> Iterator[tuple[bytes, bytes | None]]:
    """Keys and values of the whole topic."""
    reader = Consumer({"bootstrap.servers": servers, "group.id": "look", "enable.partition.eof": True})
    try:
        reader.assign([TopicPartition(topic, 0, 0)])
        while True:
            message = reader.poll(30)
            assert message is not None, f"{topic} isn't read to its end within 30 s"
            if (error := message.error()) is not None:
                assert error.code() == KafkaError._PARTITION_EOF, error
                return
            yield message.key() or b"", message.value()
    finally:
        reader.close()


class Topic(Target):
    """A topic as its readers see it: the last value of each key."""

    connector = KafkaConsumer
    many = 300
    format: ClassVar[str]

    def __init__(self, stack: Addresses, state: str, name: str) -> None:
        self.stack, self.state, self.topic = stack, state, f"{name}.things"
        self.options = {"topic": self.topic, **self.made}

    made: ClassVar[Mapping[str, object]] = {}

    def broken(self) -> AbstractContextManager[None]:
        """Sorbus's own database takes no connections: no version is known."""
        return away(self.state)

    def refused(self) -> Thing:
        return {"name": "x" * 9_000_000}

    def writes(self) -> int:
        return sum(1 for _ in messages(self.stack.kafka, self.topic))

    def damage(self, id: str) -> None:
        writer = Producer({"bootstrap.servers": self.stack.kafka})
        found = next(item for item in messages(self.stack.kafka, self.topic) if self.id(item[0]) == id)
        writer.produce(self.topic, self.other(found[1] or b""), found[0])
        assert writer.flush(30) == 0

    def id(self, key: bytes) -> str:
        raise NotImplementedError

    def other(self, value: bytes) -> bytes:
        raise NotImplementedError


class DebeziumTopic(Topic):
    """Envelopes with their schema, as JsonConverter writes them."""

    def id(self, key: bytes) -> str:
        return str(json.loads(key)["payload"]["id"])

    def other(self, value: bytes) -> bytes:
        return value.replace(b"Thing", b"damaged")

    def read(self) -> Mapping[str, Thing]:
        found: dict[str, Thing] = {}
        for key, value in messages(self.stack.kafka, self.topic):
            id = self.id(key)
            if value is None:
                assert id not in found, "a tombstone without a delete before it"
                continue
            event = json.loads(value)["payload"]
            if event["op"] == "d":
                assert event["after"] is None
                assert event["before"]["id"] == id
                found.pop(id, None)
            else:
                assert event["op"] in "cur"
                found[id] = self.thing(event["after"])
        return found

    def thing(self, row: dict[str, object]) -> Thing:
        amount, made_on, seen_at = row["amount"], row["made_on"], row["seen_at"]
        return {
            **row,
            "amount": None
            if amount is None
            else Decimal(int.from_bytes(base64.b64decode(str(amount)), "big", signed=True)).scaleb(-4),
            "made_on": None if made_on is None else date(1970, 1, 1) + timedelta(days=int(str(made_on))),
            "seen_at": None if seen_at is None else datetime.fromisoformat(str(seen_at)),
        }


class FlatTopic(Topic):
    """Rows in Avro, in the schemas of the registry."""

    made: ClassVar[Mapping[str, object]] = {"format": "flat", "encoding": "avro"}
    schemas: ClassVar[dict[int, Any]] = {}

    def decode(self, frame: bytes) -> dict[str, object]:
        number = int.from_bytes(frame[1:5], "big")
        if number not in self.schemas:
            schema = httpx.get(f"{self.stack.registry}/schemas/ids/{number}").json()["schema"]
            self.schemas[number] = fastavro.parse_schema(json.loads(schema))
        found = fastavro.schemaless_reader(io.BytesIO(frame[5:]), self.schemas[number], None)
        assert isinstance(found, dict)
        return found

    def id(self, key: bytes) -> str:
        return str(self.decode(key)["id"])

    def other(self, value: bytes) -> bytes:
        return value.replace(b"Thing", b"spoil")

    def read(self) -> Mapping[str, Thing]:
        rows = dict(messages(self.stack.kafka, self.topic))
        found = [self.decode(value) for value in rows.values() if value is not None]
        return {
            str(row["id"]): {
                **row,
                "seen_at": None if row["seen_at"] is None else datetime.fromisoformat(str(row["seen_at"])),
            }
            for row in found
        }


@pytest.fixture
def own_state(stack: Addresses, database: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where versions are kept, and which Kafka and registry are Sorbus's own."""
    monkeypatch.setenv("SORBUS_DATABASE", database)
    monkeypatch.setenv("SORBUS_KAFKA", stack.kafka)
    monkeypatch.setenv("SORBUS_REGISTRY", stack.registry)
    return database


@pytest.mark.slow
class TestDebezium(ConsumerConformance):
    @pytest.fixture
    def target(self, stack: Addresses, own_state: str, unique: str) -> Target:
        return DebeziumTopic(stack, own_state, unique)


@pytest.mark.slow
class TestFlat(ConsumerConformance):
    @pytest.fixture
    def target(self, stack: Addresses, own_state: str, unique: str) -> Target:
        return FlatTopic(stack, own_state, unique)
