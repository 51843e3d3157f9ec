"""Topics whose oldest messages are older than deletes are kept: whoever begins to read them now has missed none."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import NewTopic

from sorbus.bus import topic_reader
from sorbus.bus.committed import read_until
from sorbus.bus.kafka import admin, base_config
from sorbus.conformance.in_memory_bus import InMemoryBus
from sorbus.conformance.sample_type import sample
from sorbus.connector import Position
from sorbus.errors import LostPosition
from sorbus.ops.embedded import Addresses
from sorbus.producers.debezium import producer as debezium
from sorbus.producers.step.source_topic import SourceTopic
from sorbus.settings import Settings
from tests.conformance.test_debezium import TopicThings
from tests.producers.merge.test_merge_producer import Proposals, proposals
from tests.topics import make_topics, set_topic, until_known

__all__ = ["proposals"]
DAY = 86_400.0
LONG_AGO = int((time.time() - 60 * DAY) * 1000)


def test_a_step_that_ends_while_it_reads_an_old_topic_first_goes_on(stack: Addresses, unique: str) -> None:
    settings = Settings(kafka=stack.kafka, registry="")
    client, out = admin(settings), Producer(base_config(settings, "test"))
    make_topics(client, NewTopic(unique, 1, 1, config={"cleanup.policy": "compact"}))
    until_known(client, unique)
    for number in range(5):
        out.produce(unique, b"", b"%d" % number, timestamp=LONG_AGO)
    assert out.flush(30) == 0
    topic = SourceTopic(settings, unique, "step", may_reread=False)
    topic.open(None)
    deadline = time.monotonic() + 30
    while not topic.read(0.5, 2):
        assert time.monotonic() < deadline
    topic.taken(2)
    position = topic.position()
    topic.close()
    assert topic.open(position) == ""
    topic.close()
    away: Position = {**position, "read_at": [time.time() - 2 * DAY]}  # a day longer than this topic keeps deletes
    with pytest.raises(LostPosition, match=r"in the last 2\.0 days and was not read"):
        topic.open(away)


def test_a_merge_reads_old_topics_to_their_end(proposals: Proposals, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topic_reader, "_AT_ONCE", 0)
    monkeypatch.setattr("sorbus.two_way.proposal_topics._CHECK_EVERY", 0.0)
    monkeypatch.setattr(proposals, "out", Dated(proposals.out))
    for number in range(5):
        proposals.show("crm", str(number), name="a")
    assert sum(len(batch.changes) for batch in proposals.merge(until=5)) == 5


@pytest.fixture
def source(stack: Addresses, unique: str) -> TopicThings:
    made = TopicThings(stack.kafka, f"{unique}.erp.things", partitions=1)
    set_topic(Settings(kafka=stack.kafka, registry=""), made.topic, cleanup_policy="compact")
    made.out = Dated(made.out)  # type: ignore[assignment]
    return made


@pytest.fixture
def tape(source: TopicThings) -> Iterator[InMemoryBus]:
    tape = InMemoryBus(source)
    yield tape
    tape.close()


def test_a_reader_of_debezium_that_ends_while_it_reads_an_old_topic_first_goes_on(
    tape: InMemoryBus, source: TopicThings, monkeypatch: pytest.MonkeyPatch
) -> None:
    things = {str(number): sample(number) for number in range(5)}
    source.put(things)
    monkeypatch.setattr(debezium, "_MOST_CHANGES", 2)
    deadline = time.monotonic() + 30
    while not tape.events:
        assert time.monotonic() < deadline, "nothing is published"
        tape.step()
    assert len(tape.events) < 5
    tape.crash()
    tape.until_live(things)


@pytest.mark.parametrize(
    ("before", "written", "until"),
    [(100.0, 50.0, 100.0), (100.0, 150.0, 150.0), (0.0, 50.0, 50.0)],
    ids=["written before reading began", "written since", "not known when reading began"],
)
def test_how_late_a_position_is(before: float, written: float, until: float) -> None:
    assert read_until(before, written) == until


@pytest.mark.parametrize(("before", "written"), [(0.0, 1000 * DAY), (1000 * DAY, 0.0)])
def test_no_position_is_later_than_now_whatever_a_clock_said(before: float, written: float) -> None:
    now = time.time()
    assert read_until(now + before, now + written) <= time.time()


class Dated:
    """A producer whose messages were written long ago."""

    def __init__(self, real: Producer) -> None:
        self.produce = partial(real.produce, timestamp=LONG_AGO)
        self.flush, self.poll = real.flush, real.poll
