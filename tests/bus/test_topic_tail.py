"""Of events that were sent without a transaction, exactly those are published again that are missing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sorbus.bus.publisher import Outgoing
from sorbus.bus.topic_ends import TopicEnds
from sorbus.bus.topic_facts import TopicFacts
from sorbus.bus.topic_tail import Diverged, TopicTail
from sorbus.event import event_encoder, source_of, told_by_source

PARTITIONS = 3
ENCODE = event_encoder(b"\0\0\0\0\1", "shop", "item")


def partition(_: str, key: bytes) -> int:
    return key[0] % PARTITIONS


def message(id: bytes, version: int, data: bytes | None, captured_at: int = 5) -> Outgoing:
    value, headers = ENCODE(id, version, 1, captured_at, data)
    return "item", id, value, headers


ids = st.binary(min_size=1, max_size=3)
datas = st.none() | st.binary(max_size=20)
streams = st.lists(st.tuples(ids, datas), max_size=30)


def written(stream: list[tuple[bytes, bytes | None]], captured_at: int) -> list[Outgoing]:
    found = []
    for version, (id, data) in enumerate(stream, 1):
        found.append(message(id, version, data, captured_at))
        if data is None:
            found.append(("item", id, None, []))
    return found


@given(streams, st.tuples(*[st.integers(0, 40)] * PARTITIONS), st.lists(st.integers(1, 8)))
def test_each_partition_gets_what_it_lacks(
    stream: list[tuple[bytes, bytes | None]], arrived: tuple[int, ...], cuts: list[int]
) -> None:
    """Whatever part of each partition arrived, and however the stream is cut into batches when it is read again."""
    topics: dict[int, list[tuple[bytes, bytes | None]]] = {number: [] for number in range(PARTITIONS)}
    tail = TopicTail()
    for _, key, value, _ in written(stream, 5):
        place = partition("item", key)
        if len(topics[place]) < arrived[place]:
            topics[place].append((key, value and told_by_source(value)))
            tail.add(("item", place), len(topics[place]), key, value, 1)
    again = written(stream, 77)
    while again:
        size = cuts.pop() if cuts else len(again)
        batch, again = again[:size], again[size:]
        for number in tail.unpublished(batch, partition):
            _, key, value, _ = batch[number]
            topics[partition("item", key)].append((key, value and told_by_source(value)))
    assert not tail
    for place in range(PARTITIONS):
        whole = [(key, value and told_by_source(value)) for _, key, value, _ in written(stream, 5)]
        assert topics[place] == [one for one in whole if partition("item", one[0]) == place]


@given(streams.filter(bool), st.data())
def test_what_does_not_come_again_is_told(stream: list[tuple[bytes, bytes | None]], data: st.DataObject) -> None:
    """One change more or other than what was published, of which something follows in its partition."""
    tail = TopicTail()
    for _, key, value, _ in written(stream, 5):
        tail.add(("item", partition("item", key)), 0, key, value, 1)
    place = data.draw(st.integers(0, len(stream) - 1))
    id, was = stream[place]
    other = data.draw(datas.filter(lambda found: found != was))
    with pytest.raises(Diverged):
        tail.unpublished(written([*stream[:place], (id, other), *stream[place + 1 :]], 9), partition)


@given(ids, st.integers(1, 2**62), datas, st.integers(0, 2**50), st.integers(0, 2**50))
def test_only_the_time_of_capture_may_differ_and_a_version_grow(
    id: bytes, version: int, data: bytes | None, first: int, second: int
) -> None:
    one = message(id, version, data, first)[2]
    assert one is not None
    assert source_of(one) == "shop"
    for told_again, is_same in ((version, True), (version + 1, True), (version - 1, False)):
        tail = TopicTail()
        tail.add(("item", 0), 0, id, one, version)
        try:
            assert tail.unpublished([("item", id, *ENCODE(id, told_again, 1, second, data))], lambda *_: 0) == []
        except Diverged:
            assert not is_same
        else:
            assert is_same
    later = ENCODE(id, version, 2, second, data)[0]
    assert told_by_source(one) != told_by_source(later)


def test_what_is_sent_before_a_transaction_s_marker_is_behind_its_position() -> None:
    """Kafka confirms a commit first, and writes the markers then."""
    ends = TopicEnds({"item": TopicFacts("id", (0,), (7,))})
    ends.added([message(b"1", 1, b"")])
    stored = ends.to_json({})
    ends.committed()
    ends.sent("item", 0)  # at offset 8, or 9 behind the marker
    assert stored == {"item": [8]}
    assert ends.to_json({}) == {"item": [10]}
    assert ends.to_json({("item", 0): 9}) == {"item": [9]}
