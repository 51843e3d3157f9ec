"""Who publishes a data type, and on which topic: kept in each producer's position, compared before it resumes.

Kafka removes messages by retention, DeleteRecords or deletion of the topic, and a data type may get another owner. In
each case the topic is not what this producer left, so resuming at its position alone would skip records, and versions
that restart from zero would be ignored by every target.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Self, cast

from confluent_kafka import Consumer
from pydantic import JsonValue

from sorbus.avro.decode import Undecodable, read_bytes
from sorbus.bus.kafka import all_partitions, bytes_of, read_to_end, topic_reader
from sorbus.bus.topic_ends import ENDS_KEY, stored_ends, truncated
from sorbus.bus.topic_facts import TopicFacts
from sorbus.connector import Position
from sorbus.event import open_frame
from sorbus.settings import Settings

TOPICS_KEY = "sorbus.topics"
"""Key of a producer's position that holds what it owns; `KIND_KEY` holds the connector that wrote it."""
KIND_KEY = "sorbus.kind"


@dataclass(frozen=True, slots=True)
class Owned:
    """A data type's topic as its producer left it: its id in Kafka, where its partitions began, the highest version
    assigned. Of all systems that published a data type, the one with the highest `epoch` did so last.
    """

    topic: str
    begins: tuple[int, ...]
    version: int
    epoch: int

    def to_json(self) -> dict[str, JsonValue]:
        return {"topic": self.topic, "begins": list(self.begins), "version": self.version, "epoch": self.epoch}

    @classmethod
    def from_json(cls, found: Mapping[str, JsonValue]) -> Self:
        begins = cast("list[int]", found["begins"])
        version, epoch = cast("int", found["version"]), cast("int", found["epoch"])
        return cls(str(found["topic"]), tuple(begins), version, epoch)


class TopicContent(NamedTuple):
    """A topic's live records by publishing system, and the highest version of any event."""

    live: Mapping[bytes, str]
    version: int

    @property
    def systems(self) -> Counter[str]:
        return Counter(self.live.values())


class Inherited(NamedTuple):
    """A data type to be snapshotted with versions above `floor`, then cleared of stale records; `why` is for people."""

    data_type: str
    why: str
    floor: int
    former: str = ""
    """The system that owned it before; empty if it is the same one."""


def owned(position: Position | None) -> dict[str, Owned]:
    """What a stored position says its producer owned; empty for positions of earlier releases."""
    found = cast("dict[str, dict[str, JsonValue]]", (position or {}).get(TOPICS_KEY) or {})
    return {name: Owned.from_json(one) for name, one in found.items()}


def held(settings: Settings, topic: str, through: Sequence[int] = ()) -> TopicContent:
    """Reads a whole topic; ids and systems of its live records are held in memory. TransientError without Kafka.

    `through`: where its partitions end by now, if all that is committed counts: it is waited for.
    """
    shown = {(topic, number): end for number, end in enumerate(through)}
    live: dict[bytes, str] = {}
    highest = 0
    consumer: Consumer = topic_reader(settings, f"held-{topic}")
    try:
        for message in read_to_end(consumer, all_partitions(consumer, topic), through=shown):
            key, value = bytes_of(message.key()), message.value()
            if value is None:
                live.pop(key, None)
                continue
            try:
                head = open_frame(bytes_of(value))
                system = read_bytes(bytes_of(value), head.at)[0].decode(errors="replace")
            except Undecodable:
                continue
            highest = max(highest, head.version)
            if head.deleted:
                live.pop(key, None)
            else:
                live[key] = system
    finally:
        consumer.close()
    return TopicContent(live, highest)


class Ownership:
    """What one system's producer owns now, compared with all positions on the bus."""

    def __init__(self, system: str, kind: str, positions: Mapping[str, Position]) -> None:
        """`positions`: of every system that has ever published, by its name."""
        self._system, self._kind = system, kind
        self._all = {name: owned(position) for name, position in positions.items()}
        stored = positions.get(system)
        before = None if stored is None else stored.get(KIND_KEY, kind)
        self.was_another_kind = before not in (None, kind)
        """Whether another connector wrote the position, so that this one can't use it."""
        own = None if self.was_another_kind or stored is None else dict(stored)
        self.is_new = own is None
        self.ends: Mapping[str, Sequence[int]] = stored_ends(own)
        """Topic -> the next offset of each partition, as the position says: what lies behind was sent directly."""
        if own is not None:
            own.pop(ENDS_KEY, None)
            own.pop(TOPICS_KEY, None)
            own.pop(KIND_KEY, None)
        self.position: Position | None = own
        """The connector's own part of its position."""
        self._mine: dict[str, Owned] = {}

    def inherits(
        self,
        data_type: str,
        facts: TopicFacts,
        settings: Settings,
        topic: str,
        diverged: str | None = None,
        *,
        waits: bool = True,
    ) -> Inherited | None:
        """Why a data type can't simply resume, if so; from now on this producer owns it. Reads the topic only then.

        `diverged`: what its producer has found to be wrong with it. `waits`: for what a former owner has committed and
        Kafka doesn't show yet; without it a version might be given that is below one there.
        """
        entries = {name: found[data_type] for name, found in self._all.items() if data_type in found}
        newest = max(entries, key=lambda name: entries[name].epoch, default=None)
        mine = entries.get(self._system)
        given = max((entry.version for entry in entries.values()), default=0)
        if newest == self._system and mine is not None and not self.is_new:
            why = lost_of(topic, mine, facts) or truncated(topic, self.ends.get(topic, ()), facts) or diverged
            self._mine[data_type] = replace(mine, topic=facts.id, begins=facts.begins, version=given)
            if why is None:
                return None
            former = ""
        else:
            self._mine[data_type] = Owned(facts.id, facts.begins, given, 1 + _epoch(entries))
            why, former = "", newest or ""
        found = held(settings, topic, facts.ends if waits else ())
        floor = max(given, found.version)
        self._mine[data_type] = replace(self._mine[data_type], version=floor)
        if why:
            return Inherited(data_type, why, floor)
        strangers = {name for name in found.systems if name != self._system} | ({former} - {self._system, ""})
        if strangers:
            named = former or found.systems.most_common(1)[0][0]
            count = sum(number for name, number in found.systems.items() if name != self._system)
            return Inherited(data_type, f"it moves from {named} to {self._system}: {count:,} records", floor, named)
        if self.is_new and not floor:
            return None  # published for the first time
        if self.is_new:
            reason = "another kind of system wrote its position" if self.was_another_kind else "there is no position"
            return Inherited(data_type, f"{reason}, yet {topic} has held records up to version {floor}", floor)
        if mine is None and not floor:
            return Inherited(data_type, f"{topic} is empty", floor)
        return None  # a position of an earlier release

    def took(self, data_type: str, version: int) -> None:
        """Records an assigned version: a later owner starts above it."""
        mine = self._mine.get(data_type)
        if mine is not None and version > mine.version:
            self._mine[data_type] = replace(mine, version=version)

    def version(self, data_type: str) -> int:
        """The highest version assigned."""
        mine = self._mine.get(data_type)
        return 0 if mine is None else mine.version

    def changed(self, data_type: str, topic: str, facts: TopicFacts | None) -> str | None:
        """Why the topic is no longer what it was when this producer started; None if it still is."""
        mine = self._mine.get(data_type)
        if mine is None:
            return None
        return f"topic {topic} does not exist; run `sorbus apply`" if facts is None else lost_of(topic, mine, facts)

    def stored(self, position: Position) -> Position:
        """The connector's position plus what we own; former data types are kept, for their epoch and version."""
        entries = self._all.get(self._system, {}) | self._mine
        return {**position, KIND_KEY: self._kind, TOPICS_KEY: {name: one.to_json() for name, one in entries.items()}}


def _epoch(entries: Mapping[str, Owned]) -> int:
    return max((entry.epoch for entry in entries.values()), default=0)


def lost_of(topic: str, mine: Owned, facts: TopicFacts) -> str | None:
    """Why a topic is not as its producer left it; None if it is."""
    if facts.id != mine.topic:
        return f"topic {topic} was deleted and recreated"
    if len(facts.begins) != len(mine.begins):
        return f"topic {topic} now has {len(facts.begins)} partitions instead of {len(mine.begins)}"
    lost = [(have - was) for was, have in zip(mine.begins, facts.begins, strict=True) if have > was]
    if lost:
        return f"topic {topic} has lost its first {sum(lost):,} messages (retention, or deleted records)"
    return None
