"""Topics of several partitions: emptied tables, records whose partition changed."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sorbus.bus.cluster import KafkaConnection
from sorbus.bus.topic_reader import TopicMessage, TopicReader
from sorbus.conformance.in_memory_bus import InMemoryBus
from sorbus.conformance.sample_type import NAME
from sorbus.errors import Unfinished
from sorbus.ops.embedded import Addresses
from sorbus.producers.debezium.ordered_reader import OrderedReader
from sorbus.producers.debezium.producer import DebeziumProducer
from tests.conformance.test_debezium import COLUMNS, ENVELOPE, KEY, TopicThings

AT = 1_760_000_000_000


@pytest.fixture
def source(stack: Addresses, unique: str) -> TopicThings:
    return TopicThings(stack.kafka, f"{unique}.erp.things", partitions=2)


def publish_again(tape: InMemoryBus, events: int) -> None:
    """All of it, until so many events have come."""
    before, producer = len(tape.events), tape.producer()
    assert isinstance(producer, DebeziumProducer)
    producer.resnapshot([NAME])
    tape.until(lambda: len(tape.events) >= before + events, lambda: "nothing is published again")


def tell(source: TopicThings, partition: int, id: str, happened: int, written: int, **payload: object) -> None:
    """A message of a row, or ("") of the table; times in milliseconds after AT."""
    key = json.dumps({"schema": KEY, "payload": {"id": id}}).encode() if id else None
    told = {"op": "c", "before": None, **payload, "source": {"ts_ms": AT + happened}}
    if id and payload.get("op") != "d":
        told["after"] = {**{str(one["field"]): None for one in COLUMNS}, "id": id, "name": payload.get("name", id)}
    value = json.dumps({"schema": ENVELOPE, "payload": {name: one for name, one in told.items() if name != "name"}})
    source.out.produce(source.topic, value.encode(), key, partition=partition, timestamp=AT + written)
    source.out.flush(10)


def live(tape: InMemoryBus, *ids: str) -> None:
    tape.until(lambda: tape.live().keys() == set(ids), lambda: f"{tape.live().keys()} {tape.rejected}")


@pytest.mark.parametrize("emptied", [0, 1])
def test_rows_of_other_partitions_than_the_one_that_tells_of_an_emptied_table(
    tape: InMemoryBus, source: TopicThings, emptied: int
) -> None:
    tell(source, 1 - emptied, "old", 0, 0)
    tell(source, emptied, "", 1000, 1000, op="t")
    tell(source, 1 - emptied, "same transaction", 1000, 1000)
    tell(source, 1 - emptied, "new", 2000, 2000)
    tell(source, emptied, "end", 3000, 3000)
    live(tape, "same transaction", "new", "end")
    publish_again(tape, 3)
    live(tape, "same transaction", "new", "end")


@pytest.mark.parametrize("emptied", [0, 1])
@pytest.mark.parametrize("is_crashed", [False, True])
def test_what_is_written_late_is_ordered_by_when_it_happened(
    tape: InMemoryBus, source: TopicThings, emptied: int, *, is_crashed: bool
) -> None:
    """A row that was read before the table was emptied, though it is newer; and one that comes after, though older."""
    tell(source, 1 - emptied, "old", 0, 0)
    tell(source, 1 - emptied, "new", 2000, 2000)
    live(tape, "old", "new")
    tell(source, emptied, "", 1000, 2001, op="t")
    live(tape, "new")
    if is_crashed:
        tape.crash()
    tell(source, 1 - emptied, "late", 500, 2002)
    tell(source, 1 - emptied, "end", 3000, 3000)
    live(tape, "new", "end")


def test_each_data_type_of_a_topic_keeps_newer_rows_of_an_emptied_table(source: TopicThings) -> None:
    (first,) = source.sources()
    tell(source, 0, "new", 2000, 2000)
    tell(source, 1, "", 1000, 2001, op="t")
    tell(source, 0, "old", 500, 2002)
    producer = DebeziumProducer(source.system(), [first, replace(first, name="other")])
    producer.open(None)
    live: dict[str, set[bytes]] = {first.name: set(), "other": set()}
    sweeps, until = list[str](), time.monotonic() + 30
    while len(sweeps) < 2 or any(found != {b"new"} for found in live.values()):
        assert time.monotonic() < until, (sweeps, live)
        with suppress(Unfinished):
            if batch := producer.read(0.5):
                for sweep in batch.sweeps:
                    sweeps.append(sweep.data_type)
                    live[sweep.data_type].clear()
                for change in batch.changes:
                    live[change.data_type].add(change.id)
    producer.close()


@pytest.mark.parametrize("newest", [0, 1])
def test_a_record_whose_key_moved_to_another_partition_keeps_its_newest_state(
    tape: InMemoryBus, source: TopicThings, newest: int
) -> None:
    """As after partitions were added: keys move among the old ones, too."""
    tell(source, 1 - newest, "1", 0, 0, name="old")
    tell(source, newest, "1", 60_000, 60_000, name="new")
    tell(source, 1 - newest, "end", 120_000, 120_000)
    live(tape, "1", "end")
    assert tape.live()["1"]["name"] == "new"
    before, producer = len(tape.events), tape.producer()
    assert isinstance(producer, DebeziumProducer)
    producer.resnapshot([NAME])
    tape.until(lambda: len(tape.events) >= before + 2, lambda: "nothing is published again")
    assert tape.live()["1"]["name"] == "new"


@pytest.mark.parametrize("is_crashed", [False, True])
def test_a_topic_is_read_again_only_for_newer_rows_of_an_emptied_table(
    tape: InMemoryBus, source: TopicThings, monkeypatch: pytest.MonkeyPatch, *, is_crashed: bool
) -> None:
    """A table that is emptied every hour would have the whole topic read every hour."""
    monkeypatch.setattr("sorbus.producers.debezium.producer.read_again", lambda *_: pytest.fail("is read again"))
    tell(source, 1, "old", 0, 0)
    live(tape, "old")
    if is_crashed:
        tape.crash()
    tell(source, 0, "", 1000, 1000, op="t")
    tell(source, 1, "new", 2000, 2000)
    live(tape, "new")


@pytest.mark.parametrize("later", [0, 1])
def test_rows_that_swap_their_keys_in_one_transaction_both_stay(
    tape: InMemoryBus, source: TopicThings, later: int
) -> None:
    """As with a unique key that is checked at the transaction's end."""
    source.options = {**source.options, "key": ["name"]}
    tell(source, 0, "1", 0, 0, name="a")
    tell(source, 1, "2", 0, 0, name="b")
    for partition, id, before, after in ((0, "1", "a", "b"), (1, "2", "b", "a")):
        tell(source, partition, id, 10, 10 + (partition == later), op="u", before=blank(id, before), name=after)
    tell(source, 0, "3", 20, 20, name="end")
    live(tape, "a", "b", "end")
    publish_again(tape, 3)
    live(tape, "a", "b", "end")


def test_a_key_that_another_row_takes_before_its_row_goes_stays(tape: InMemoryBus, source: TopicThings) -> None:
    source.options = {**source.options, "key": ["name"]}
    tell(source, 0, "1", 0, 0, name="a")
    tell(source, 1, "2", 0, 0, name="b")
    tell(source, 0, "1", 10, 10, op="u", before=blank("1", "a"), name="b")
    tell(source, 1, "2", 10, 11, op="d", before=blank("2", "b"), after=None)
    tell(source, 0, "3", 20, 20, name="end")
    live(tape, "b", "end")


@pytest.mark.parametrize("asked", ["a", "b", "c"])
def test_of_a_message_about_two_records_only_the_one_is_published_again_whose_newest_it_is(
    tape: InMemoryBus, source: TopicThings, asked: str
) -> None:
    """The row went from a to b to c; another one has b since."""
    source.options = {**source.options, "key": ["name"]}
    tell(source, 0, "1", 0, 0, name="a")
    tell(source, 0, "1", 10, 10, op="u", before=blank("1", "a"), name="b")
    tell(source, 0, "1", 20, 20, op="u", before=blank("1", "b"), name="c")
    tell(source, 1, "2", 30, 30, name="b")
    tell(source, 0, "3", 40, 40, name="end")
    live(tape, "b", "c", "end")
    before, producer = len(tape.events), tape.producer()
    assert isinstance(producer, DebeziumProducer)
    producer.reread(NAME, [asked.encode()])
    tape.until(lambda: len(tape.events) > before, lambda: "it isn't published again")
    assert [id for id, _ in tape.events[before:]] == [asked]
    live(tape, "b", "c", "end")


def blank(id: str, name: str) -> dict[str, object]:
    return {**{str(one["field"]): None for one in COLUMNS}, "id": id, "name": name}


class Arriving:
    """Partitions whose messages come in turns; the end of one is told once it has brought all."""

    def __init__(self, parts: list[list[int]], turns: list[int]) -> None:
        self.parts, self.turns = [deque(enumerate(part)) for part in parts], deque(turns)
        self.paused: set[int] = set()
        self.ended: set[int] = set()
        self.value: bytes | None = None

    @property
    def is_at_end(self) -> bool:
        return len(self.ended) == len(self.parts)

    def is_behind(self, _: str, partition: int) -> bool:
        return partition not in self.ended

    def pause(self, _: str, partition: int) -> None:
        self.paused.add(partition)

    def resume(self, _: str, partition: int) -> None:
        self.paused.remove(partition)

    def read(self, _: float) -> Iterator[tuple[str, TopicMessage]]:
        turn = self.turns.popleft() if self.turns else 0
        free = [number for number in range(len(self.parts)) if number not in self.paused | self.ended]
        if free:
            number = free[turn % len(free)]
            if part := self.parts[number]:
                offset, at = part.popleft()
                yield "t", TopicMessage(number, offset, None, self.value, at)
            else:
                self.ended.add(number)


@given(
    st.lists(st.lists(st.integers(0, 50), max_size=8).map(sorted), min_size=1, max_size=4),
    st.lists(st.integers(0, 3), max_size=60),
    st.integers(2, 4),
)
def test_messages_come_in_the_order_of_their_times(parts: list[list[int]], turns: list[int], most: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sorbus.producers.debezium.ordered_reader._MOST_HELD", most)
        arriving = Arriving(parts, turns)
        reader = OrderedReader(arriving, {"t": [0] * len(parts)})  # type: ignore[arg-type]
        found: list[TopicMessage] = []
        for _ in range(200):
            found += [message for _, message in reader.read(0.0)]
            held = [len(part) for part in reader._held["t"]]
            assert max(held) <= most
        assert reader.is_at_end
    assert [one.at for one in found] == sorted(at for part in parts for at in part)
    for number, part in enumerate(parts):
        assert [one.offset for one in found if one.partition == number] == list(range(len(part)))


def test_what_waits_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages with their schema may have 20 kB each."""
    monkeypatch.setattr("sorbus.producers.debezium.ordered_reader._MOST_BYTES", 10_000)
    arriving = Arriving([list(range(50)), [100]], [0] * 30)
    arriving.value = b"x" * 1000
    reader = OrderedReader(arriving, {"t": [0, 0]})  # type: ignore[arg-type]
    found, most = list[TopicMessage](), 0
    while not reader.is_at_end:
        found += [message for _, message in reader.read(0.0)]
        most = max(most, sum(len(one.value or b"") for part in reader._held["t"] for one in part))
    assert len(found) == 51
    assert 2000 < most <= 6000


def test_a_partition_that_is_far_ahead_of_another_is_paused_and_loses_nothing(
    source: TopicThings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sorbus.producers.debezium.ordered_reader._MOST_HELD", 50)
    pauses, pause = list[int](), TopicReader.pause
    monkeypatch.setattr(TopicReader, "pause", lambda self, *place: (pauses.append(place[1]), pause(self, *place)))
    for number in range(6000):
        written = number if number < 3000 else 100_000 + number
        source.out.produce(source.topic, b"x" * 500, partition=number // 3000, timestamp=AT + written)
    source.out.flush(30)
    system = source.system()
    assert isinstance(system.connection, KafkaConnection)
    offsets = {source.topic: [0, 0]}
    reader = OrderedReader(TopicReader(system.connection.settings(), "ordered", offsets), offsets)
    found, until = list[TopicMessage](), time.monotonic() + 60
    while not reader.is_at_end:
        assert time.monotonic() < until, len(found)
        found += [message for _, message in reader.read(0.5)]
    reader.close()
    assert [(one.partition, one.offset) for one in found] == [(part, at) for part in (0, 1) for at in range(3000)]
    assert pauses
