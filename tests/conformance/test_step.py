"""Our connector for process steps passes the conformance suite, with a topic in a real Kafka."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

import pytest
import stamina
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from sorbus.avro.encode import encoder
from sorbus.bus.topic_reader import ClusterTopics
from sorbus.conformance import ProducerConformance, Source, Thing
from sorbus.conformance.in_memory_bus import InMemoryBus
from sorbus.conformance.sample_type import SCHEMA
from sorbus.connector import BoundSource
from sorbus.errors import TransientError
from sorbus.event import HISTORICAL, envelope_schema, event_encoder, single_object_prefix
from sorbus.ops.embedded import Addresses
from sorbus.producers.step.producer import StepProducer
from sorbus.schema import FieldType
from sorbus.settings import Settings
from tests.topics import make_topics

pytestmark = pytest.mark.slow

_ENCODE = encoder(FieldType("record", fields=SCHEMA.fields))


class StepThings(Source):
    """Things on the topic of another data type, as its owner's producer publishes them."""

    connector = StepProducer
    patience = 30.0

    def __init__(self, kafka: str, prefix: str, *, partitions: int = 3, **step: object) -> None:
        self.topic_prefix = f"{prefix}."
        self.topic = f"{prefix}.thing"
        self.options = {
            "from": "thing", "makes": "sample", "owner": "Sales", "on_leave": "delete", "begin": "beginning", **step
        }  # fmt: skip
        self.kafka = kafka
        self.admin = AdminClient({"bootstrap.servers": kafka})
        self.make_topic(partitions)
        self.out = Producer({"bootstrap.servers": kafka, "linger.ms": 0})
        prefix_bytes = single_object_prefix(envelope_schema(SCHEMA))
        self.encode = event_encoder(prefix_bytes, "crm", "thing")
        self.version = time.time_ns() // 1000

    def make_topic(self, partitions: int) -> None:
        make_topics(self.admin, NewTopic(self.topic, partitions, 1))
        for attempt in stamina.retry_context(on=TransientError, timeout=20):  # until its partitions have leaders
            with attempt:
                ClusterTopics(Settings(), "").facts([self.topic])

    def sources(self) -> list[BoundSource]:
        return [replace(source, reads=SCHEMA) for source in super().sources()]

    def put(self, things: Mapping[str, Thing], *, historical: bool = False) -> None:
        for id, thing in things.items():
            self.send(id, self.data(thing), historical=historical)
        self.out.flush(30)

    @staticmethod
    def data(thing: Thing) -> bytes:
        """As the owner's producer encodes it."""
        return _ENCODE({**dict.fromkeys(SCHEMA.by_name), **thing})

    def remove(self, id: str) -> None:
        self.send(id, None)
        self.out.produce(self.topic, None, id.encode())
        self.out.flush(30)

    def spoil(self, id: str) -> None:
        self.out.produce(self.topic, b"nonsense", id.encode())
        self.out.flush(30)

    def send(self, id: str, data: bytes | None, *, historical: bool = False) -> None:
        self.version += 1
        value, headers = self.encode(id.encode(), self.version, self.version, self.version, data)
        more = [(HISTORICAL, b"1")] if historical else []
        self.out.produce(self.topic, value, id.encode(), headers=[*headers, *more])
        self.out.poll(0)


class TestStep(ProducerConformance):
    @pytest.fixture
    def source(self, stack: Addresses, unique: str, monkeypatch: pytest.MonkeyPatch) -> Source:
        for name, value in stack.env().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("SORBUS_REGISTRY", "")
        return StepThings(stack.kafka, unique)

    def test_one_bad_record_never_holds_the_others(self, tape: InMemoryBus) -> None:
        """A topic keeps what was before, so the bad record has never been a good one here."""
        things = self._things(tape.source, 20)
        bad, *rest = things
        tape.source.spoil(bad)
        good = {id: things[id] for id in rest}
        tape.source.put(good)
        tape.until_live(good)
        tape.until(lambda: bad in tape.rejected, lambda: f"a reject of {bad}: {tape.rejected}")
        tape.source.put({bad: things[bad]})
        tape.until_live(things)
        assert bad not in tape.rejected
