"""The index that finds a record's events in a large topic: it loses none, and reads each stretch in vain once."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sorbus.bus.kafka import admin, bytes_of
from sorbus.errors import TransientError
from sorbus.ops.runtime.topics import plan_topics, topics_of
from sorbus.ops.trace import key_index
from sorbus.ops.trace.key_filter import WINDOW, filter_of, key_bits
from sorbus.ops.trace.key_index import KeyIndex
from sorbus.state.database import State
from tests.consumers.line import Line, eventually, named
from tests.consumers.plugin import line, make_line
from tests.ops.test_duplicates import state
from tests.topics import delete_topic

__all__ = ["line", "make_line", "state"]


def has(filter: bytes, key: bytes) -> bool:
    return all(filter[bit >> 3] >> (bit & 7) & 1 for bit in key_bits(key))


@given(st.sets(st.binary(max_size=40), max_size=50))
def test_a_filter_never_denies_a_key_that_it_was_made_of(keys: set[bytes]) -> None:
    made = filter_of(keys)
    assert all(has(made, key) for key in keys)


def test_a_full_filter_of_one_partition_seldom_claims_what_it_lacks() -> None:
    """Keys of one partition share their CRC's remainder, whatever the number of partitions."""
    for count in (1, 8, 12):
        keys = [key for n in range(WINDOW * count) if zlib.crc32(key := str(n).encode()) % count == 0]
        made = filter_of(keys)
        others = [key for n in range(10_000 * count) if zlib.crc32(key := b"x%d" % n) % count == 0]
        wrong = sum(has(made, key) for key in others) / len(others)
        assert wrong < 0.03, f"{wrong:.1%} of other keys seem to be there, with {count} partitions"


def test_events_are_found_by_the_index_wherever_they_are(
    line: Line, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_index, "WINDOW", 64)
    for n in range(1500):
        line.write(f"g{n % 700}", b"%d" % n)
    line.flush()
    index = KeyIndex(line.settings, state, line.topic)

    def values(id: str) -> list[bytes]:
        return [bytes_of(one.value()) for one in index.find(id.encode()).messages]

    def expected(id: int, end: int) -> list[bytes]:
        return [b"%d" % n for n in range(id, end, 700)]

    assert values("g5") == expected(5, 1500), "without an index"
    assert values("g5") == expected(5, 1500), "with it"
    index.extend(pace=0)
    read: list[int] = []
    monkeypatch.setattr(KeyIndex, "_read", counted(KeyIndex._read, read))
    for id in (0, 99, 650, 699):
        read.clear()
        assert values(f"g{id}") == expected(id, 1500)
        assert len(read) < 400, f"{len(read)} messages were read for a record of a partition of 750"
    for n in range(1500, 2200):
        line.write(f"g{n % 700}", b"%d" % n)
    line.flush()
    index.extend(pace=0)
    for id in (0, 99, 699):
        assert values(f"g{id}") == expected(id, 2200), "what came later"
    assert values("nobody") == []


def counted(read: object, into: list[int]) -> object:
    def counting(*given: object) -> object:
        for messages in read(*given):  # type: ignore[operator]
            into.extend(one.offset() for one in messages)
            yield messages

    return counting


def recreate(line: Line) -> None:
    client = admin(line.settings)
    delete_topic(client, line.topic)

    def made() -> bool:
        try:
            steps = plan_topics(client, topics_of(line.loaded.map))
        except TransientError:  # a broker still lists the topic
            return False
        for step in steps:
            assert step.apply is not None
            step.apply()
        return not steps

    eventually(made, "the topic again")


def test_a_recreated_topic_has_an_index_of_its_own(line: Line, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_index, "WINDOW", 8)
    for n in range(40):
        line.write(f"g{n}", b"old")
    line.flush()
    index = KeyIndex(line.settings, state, line.topic)
    assert index.extend(pace=0) > 0
    recreate(line)
    for n in range(40, 80):
        line.write(f"g{n}", b"new")
    line.flush()
    assert index.find(b"g3").messages == []
    assert [bytes_of(one.value()) for one in index.find(b"g50").messages] == [b"new"]
    index.extend(pace=0)
    ((ids,),) = state.run(b"select count(distinct topic_id) from key_filter where topic = %s", (line.topic,))
    assert ids == 1, "filters of a topic that is gone are deleted"


def test_a_search_without_the_time_for_it_says_what_it_left_out(line: Line) -> None:
    line.publish([("g1", 1, named("One"))])
    found = KeyIndex(line.settings, None, line.topic).find(b"g1", patience=-1.0)
    assert found.messages == []
    assert "messages were not searched" in found.unread
