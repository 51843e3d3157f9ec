"""A topic that lost what a step had read: sums don't shrink, and nothing is deleted only because it is missing."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest
import stamina
from confluent_kafka import KafkaException, Producer, TopicPartition
from confluent_kafka.admin import NewPartitions

from sorbus.conformance.in_memory_bus import InMemoryBus
from sorbus.conformance.sample_type import NAME, sample
from sorbus.errors import LostPosition
from sorbus.ops.embedded import Addresses
from sorbus.producers.step.producer import StepProducer
from tests.conformance.test_step import StepThings
from tests.topics import delete_topic, led_by_another

SUMS = {"per": ["name"], "sum": {"amount": "amount"}, "count": "count"}


class Sums(StepThings):
    """Things, added up by their name."""

    mapping = (("name", "thing.name", ""), ("amount", "thing.amount", ""), ("count", "thing.count", ""))
    fields = frozenset({"name", "amount", "count"})

    def fill(self, *numbers: int) -> None:
        """Things of these numbers; two of them have the same name."""
        self.put({str(number): sample(number, name=f"n{number // 2}", amount=Decimal(number)) for number in numbers})

    def remake(self) -> None:
        """The topic is deleted, and made again."""
        delete_topic(self.admin, self.topic)
        for attempt in stamina.retry_context(on=KafkaException, timeout=30):  # until the old one is gone
            with attempt:
                self.make_topic(1)

    def cut(self, offset: int) -> None:
        """Its messages before this offset are removed."""
        at = TopicPartition(self.topic, 0, offset)
        self.admin.delete_records([at])[at].result(30)


MakeSums = Callable[..., InMemoryBus]


@pytest.fixture
def make_sums(stack: Addresses, unique: str, monkeypatch: pytest.MonkeyPatch) -> MakeSums:
    for name, value in stack.env().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SORBUS_REGISTRY", "")

    def make(**options: object) -> InMemoryBus:
        source = Sums(stack.kafka, unique, partitions=1, **{**SUMS, **options})
        source.fill(*range(8))
        return InMemoryBus(source)

    return make


def sums(bus: InMemoryBus) -> dict[str, tuple[object, object]]:
    return {id: (one["count"], one["amount"]) for id, one in bus.live().items()}


ALL = {"n0": (2, 1), "n1": (2, 5), "n2": (2, 9), "n3": (2, 13)}


def settle(bus: InMemoryBus, wanted: dict[str, tuple[object, object]]) -> None:
    bus.until(lambda: sums(bus) == wanted, lambda: f"{sums(bus)} is not {wanted}")


def restarted(bus: InMemoryBus) -> None:
    """Until the producer has read all that there is, after a restart."""
    bus.close()
    bus.until(lambda: bool(bus.position) and not bus.position["is_reading_all"], lambda: f"the end: {bus.position}")


def test_sums_of_a_topic_whose_beginning_was_removed_stop_at_the_next_start(make_sums: MakeSums) -> None:
    bus = make_sums()
    settle(bus, ALL)
    assert isinstance(bus.source, Sums)
    bus.source.cut(3)
    bus.source.fill(8)
    settle(bus, {**ALL, "n4": (1, 8)})
    bus.close()
    with pytest.raises(LostPosition, match=r"3 messages of the topic .* were removed"):
        bus.producer()
    assert sums(bus) == {**ALL, "n4": (1, 8)}


def test_a_topic_that_was_cut_off_and_filled_up_since_is_a_lost_position(make_sums: MakeSums) -> None:
    bus = make_sums()
    settle(bus, ALL)
    bus.close()
    bus.producer()
    bus.close()
    bus.position = led_by_another(bus.position)
    with pytest.raises(LostPosition, match="was cut off behind what was read last"):
        bus.producer()


def test_records_that_a_topic_lost_are_not_deleted_by_any_later_start(make_sums: MakeSums) -> None:
    bus = make_sums(on_lost_events="reread")
    settle(bus, ALL)
    assert isinstance(bus.source, Sums)
    bus.close()
    bus.source.remake()
    bus.source.fill(0, 1)
    for _ in range(3):
        restarted(bus)
        assert sums(bus) == ALL
    bus.source.fill(*range(6))
    settle(bus, ALL)
    bus.producer().resnapshot([NAME])  # a person says that the topic holds everything
    settle(bus, {id: one for id, one in ALL.items() if id != "n3"})
    bus.close()


def test_sums_of_a_topic_that_got_more_partitions_are_those_of_the_newest_events(make_sums: MakeSums) -> None:
    bus = make_sums()
    settle(bus, ALL)
    assert isinstance(bus.source, Sums)
    bus.close()
    bus.source.admin.create_partitions([NewPartitions(bus.source.topic, 4)])[bus.source.topic].result(30)
    bus.source.out = Producer({"bootstrap.servers": bus.source.kafka, "linger.ms": 0})  # knows all partitions
    wanted = {id: (count, 2 * amount) for id, (count, amount) in ALL.items()}
    things = {str(n): sample(n, name=f"n{n // 2}", amount=Decimal(2 * n)) for n in range(8)}
    bus.source.put(things)
    for _ in range(2):
        restarted(bus)
        settle(bus, wanted)
    bus.close()


def test_a_reader_that_meets_the_gap_first_reads_again_too(make_sums: MakeSums) -> None:
    bus = make_sums(on_lost_events="reread")
    settle(bus, ALL)
    assert isinstance(bus.source, Sums)
    producer = bus.producer()
    assert isinstance(producer, StepProducer)
    reader = producer._topic._reader
    assert reader is not None
    reader.pause(bus.source.topic, 0)
    bus.source.fill(8, 9)
    bus.source.cut(10)
    bus.source.fill(10, 11)
    reader.resume(bus.source.topic, 0)
    settle(bus, {**ALL, "n5": (2, 21)})
    bus.close()
