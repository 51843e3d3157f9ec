"""Where a system's topics end, counted by their producer: what others write there, or Kafka loses, is a difference."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import NamedTuple, cast
from zlib import crc32

from pydantic import JsonValue

from sorbus.bus.kafka import Partition
from sorbus.bus.publisher import Outgoing
from sorbus.bus.topic_facts import TopicFacts
from sorbus.connector import Position

_TOPIC = itemgetter(0)
ENDS_KEY = "sorbus.ends"
"""Key of a producer's position that holds each topic's next offsets."""


class Difference(NamedTuple):
    """A partition that doesn't end where its producer left it: Kafka has it end at `found`, not `expected`.

    `since`: where it ended when it was last looked at.
    """

    topic: str
    partition: int
    since: int
    expected: int
    found: int


class TopicEnds:
    """The next offset of each partition, if nobody else writes. A transaction's marker takes an offset of its own."""

    def __init__(self, facts: Mapping[str, TopicFacts]) -> None:
        """Begins with what Kafka says of each topic."""
        self._next = {topic: list(found.ends) for topic, found in facts.items()}
        self._looked_at = {topic: list(found.ends) for topic, found in facts.items()}
        self._open: set[Partition] = set()

    def partition(self, topic: str, key: bytes) -> int:
        """Where an event goes: as Kafka's client chooses by itself (librdkafka's CRC-32 of a key)."""
        return crc32(key) % len(self._next[topic])

    def sent(self, topic: str, partition: int) -> None:
        """An event was sent outside a transaction."""
        self._next[topic][partition] += 1

    def added(self, messages: Sequence[Outgoing]) -> None:
        """These were added to the transaction in progress."""
        counted = Counter(map(_TOPIC, messages))
        parts = {topic: len(self._next[topic]) for topic in counted}
        if any(count > 1 for count in parts.values()):
            found = Counter((one[0], crc32(one[1]) % parts[one[0]]) for one in messages)
        else:
            found = Counter({(topic, 0): count for topic, count in counted.items()})
        for part, count in found.items():
            self._next[part[0]][part[1]] += count
            self._open.add(part)

    def committed(self) -> None:
        """The transaction in progress was committed."""
        for topic, number in self._open:
            self._next[topic][number] += 1
        self._open = set()

    def to_json(self, behind: Mapping[Partition, int]) -> dict[str, JsonValue]:
        """As a position that is part of the transaction in progress stores it.

        `behind`: where events begin that are on their topics, but come after this position in the source.
        """
        # Without the marker: what is sent next may be written before it.
        ends = {topic: list(each) for topic, each in self._next.items()}
        for (topic, number), begin in behind.items():
            ends[topic][number] = begin
        return cast("dict[str, JsonValue]", ends)

    def differences(self, facts: Mapping[str, TopicFacts]) -> list[Difference]:
        """Where Kafka has other ends. Nothing may be in flight."""
        return [
            Difference(topic, number, self._looked_at[topic][number], expected, found)
            for topic, ends in self._next.items()
            if topic in facts
            for number, (expected, found) in enumerate(zip(ends, facts[topic].ends, strict=False))
            if expected != found
        ]

    def looked(self, facts: Mapping[str, TopicFacts]) -> None:
        """What Kafka says is right from now on."""
        for topic in self._next.keys() & facts.keys():
            self._next[topic], self._looked_at[topic] = list(facts[topic].ends), list(facts[topic].ends)


def stored_ends(position: Position | None) -> dict[str, list[int]]:
    """What a stored position says; empty in those of earlier releases, and where the producer can't count them."""
    return cast("dict[str, list[int]]", (position or {}).get(ENDS_KEY) or {})


def truncated(topic: str, ends: Sequence[int], facts: TopicFacts) -> str | None:
    """Why a topic lacks what was on it at its end; None if it doesn't."""
    lost = sum(max(0, was - now) for was, now in zip(ends, facts.ends, strict=False))
    return f"topic {topic} has lost its last {lost:,} messages (a broker's log was cut off)" if lost else None
