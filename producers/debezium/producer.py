"""The producer of a system whose changes Debezium writes to topics."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from pydantic import BaseModel

from sorbus.abilities import Resource
from sorbus.bus.cluster import KafkaConnection
from sorbus.bus.committed import read_until
from sorbus.bus.registry import open_registry
from sorbus.bus.topic_reader import ClusterTopics, Offsets, TopicMessage, TopicReader, why_lost
from sorbus.connector import (
    Batch,
    BoundSource,
    BoundSystem,
    Change,
    Position,
    RejectedRecord,
    StaleRecordDeletion,
    Step,
)
from sorbus.drift.watch import DriftWatch
from sorbus.errors import TransientError, Unfinished
from sorbus.producers.debezium.discovery import discover_topics
from sorbus.producers.debezium.formats import Formats
from sorbus.producers.debezium.options import DebeziumSource
from sorbus.producers.debezium.ordered_reader import OrderedReader
from sorbus.producers.debezium.other_reading import former_key, is_read_otherwise, lose, lost
from sorbus.producers.debezium.read_again import Emptied, Newest, read_again
from sorbus.producers.debezium.row_keys import RowKeys, digest
from sorbus.producers.debezium.topic_stream import Outcome, TopicStream

_SLICE = 0.5
_MOST_CHANGES = 2000
_CHECK_EVERY = 10.0
_STAMP_EVERY = 3600.0
"""Seconds after which the position of quiet topics is stored again, to show that they are still read."""
_log = logging.getLogger(__name__)


class DebeziumProducer:
    """Captures the data types whose topics Debezium writes, in the order of each partition."""

    Connection: type[BaseModel] = KafkaConnection
    Source: type[BaseModel] = DebeziumSource

    def __init__(self, system: BoundSystem, sources: Sequence[BoundSource]) -> None:
        """MapError where a mapping doesn't fit."""
        assert isinstance(system.connection, KafkaConnection)
        self._system, self._settings = system, system.connection.settings()
        self._streams: dict[str, list[TopicStream]] = {}
        """Topic -> the data types that are read from it."""
        for source in sources:
            stream = TopicStream(source, system.name)
            self._streams.setdefault(stream.options.topic, []).append(stream)
        registry = open_registry(self._settings)
        self._formats = Formats(registry.schema if registry is not None else None)
        self._cluster: ClusterTopics | None = None
        self._reader: OrderedReader | None = None
        self._drift: DriftWatch | None = None
        self._ids: dict[str, str] = {}
        self._begins: Offsets = {}
        self._offsets: Offsets = {}
        self._reached: dict[str, Offsets] = {}
        """Topic -> data type -> offsets: those of the last data type are the topic's."""
        self._read_at: dict[str, list[float]] = {}
        """Topic -> how late what was read of each partition is, in seconds since 1970; 0: not known."""
        self._stamped_at = 0.0
        self._last = 0
        self._checked_at = 0.0
        self._waiting: deque[tuple[TopicStream, TopicMessage, bool]] = deque()
        """Whether it is the last data type that the message is for."""
        self._deleted: dict[str, list[str]] = {}
        """Data type -> of each partition: the key's digest, if the message before told of a delete."""
        self._emptied: dict[str, Emptied] = {}
        """Topics of several partitions whose table was emptied -> where that was told last."""
        self._happened: dict[str, list[int | None]] = {}
        """Topic -> of each partition: when the newest happened of what was read; None: not known."""
        self._rows = {stream.name: RowKeys() for stream in self._all() if stream.options.key}
        self._owed: dict[str, set[bytes] | None] = {}
        """Data type -> ids that are to be read again; None: all."""
        self._again: tuple[TopicStream, Iterator[Newest | None]] | None = None
        self._left: dict[str, dict[str, object]] = {}
        """Topics that have left the map, as they were read: what comes back goes on there, or has lost its position."""
        self._again_all = False
        """Whether all records of that data type are read again."""
        self._former: dict[str, list[str]] = {}
        """Data type -> by which key it was published, where what has such an id is still to be deleted."""
        self._count = self._floor = 0

    @classmethod
    def plan(cls, system: BoundSystem, sources: Sequence[BoundSource]) -> list[Step]:  # noqa: ARG003 - the interface's
        """The topics are Debezium's: there is nothing to create."""
        return []

    @classmethod
    def resources_of(cls, options: BaseModel) -> dict[str, str]:
        """The topic's last part."""
        assert isinstance(options, DebeziumSource)
        return {"": options.resource}

    @classmethod
    def discover(cls, system: BoundSystem) -> list[Resource]:
        """Every topic whose messages are Debezium's."""
        assert isinstance(system.connection, KafkaConnection)
        return discover_topics(system.connection.settings())

    def open(self, position: Position | None) -> None:
        """Resumes at the stored offsets. TransientError, AuthError, LostPosition."""
        self._drift = DriftWatch.of(self._system.name, self._system.topic_prefix)
        for stream in self._all():
            stream.begin(self._drift)
        self._cluster = ClusterTopics(self._settings, "see whether Debezium runs, and what it calls it")
        facts = self._cluster.facts(list(self._streams))
        stored = position or {}
        last = stored.get("version")
        self._last = last if isinstance(last, int) else 0
        topics = cast("dict[str, dict[str, object]]", stored.get("topics") or {})
        self._left = {topic: kept for topic, kept in topics.items() if topic not in self._streams}
        owed = cast("list[str]", stored.get("owed") or [])  # a resnapshot was under way
        self._owed |= {stream.name: None for topic in owed for stream in self._streams.get(topic, ())}
        kept = self._cluster.deletes_kept(list(self._streams))
        cut = self._cluster.cut_off(facts, topics)
        for topic, found in facts.items():
            self._ids[topic], self._begins[topic] = found.id, list(found.begins)
            self._offsets[topic], self._read_at[topic] = list(found.begins), [time.time()] * len(found.begins)
            for stream in self._streams[topic]:
                self._deleted[stream.name] = [""] * len(found.begins)
            self._happened[topic] = [0] * len(found.begins)
            if topic not in topics:
                if any(found.begins):
                    _log.warning(
                        "%s: the topic %s has lost its oldest messages: records that haven't changed since are missing"
                        " unless Debezium takes a snapshot again", self._system.name, topic,
                    )  # fmt: skip
                continue
            before = cast("list[int]", topics[topic]["offsets"])
            read_at = cast("list[float]", topics[topic].get("read_at") or [0.0] * len(before))
            why = why_lost(topic, str(topics[topic].get("id")), before, read_at, found, kept.get(topic))
            if why := why or cut.get(topic, ""):
                lose(self._system, why)
                continue
            self._offsets[topic][: len(before)], self._read_at[topic][: len(before)] = before, read_at
            self._restore(topic, topics[topic])
        self._reached = {
            topic: {stream.name: list(self._offsets[topic]) for stream in streams}
            for topic, streams in self._streams.items()
        }
        self._checked_at = self._stamped_at = time.monotonic()
        reader = TopicReader(self._settings, f"debezium-{self._system.name}", self._offsets, lost, stored=topics)
        self._reader = OrderedReader(reader, self._offsets)

    def reread(self, data_type: str, ids: Sequence[bytes]) -> None:
        """The newest messages of these records are looked for in the topic."""
        for stream in self._all():
            if stream.name == data_type and ids:
                owed = self._owed.setdefault(data_type, set())
                if owed is not None:
                    owed.update(ids)

    def resnapshot(self, data_types: Sequence[str]) -> None:
        """The newest message of every record in the topic is published again."""
        for stream in self._all():
            if stream.name in data_types:
                self._owed[stream.name] = None

    def read(self, wait: float) -> Batch | None:
        """The next messages as changes; None if nothing came within `wait` seconds."""
        assert self._reader is not None
        if self._again is not None or self._owed:
            return self._read_again()
        self._check()
        if not self._waiting:
            self._waiting.extend(self._by_stream(list(self._reader.read(wait))))
        return self._taken() if self._waiting else self._stamped()

    def confirm(self, position: Position) -> None:
        """Offsets are kept with the events: the cluster need not know."""

    def lag(self) -> int | None:
        """Messages that aren't read yet."""
        if self._cluster is None:
            return None
        facts = self._cluster.facts(list(self._streams))
        return sum(
            max(0, end - at)
            for topic, found in facts.items()
            for end, at in zip(found.ends, self._offsets[topic], strict=False)
        )

    def close(self) -> None:
        """Disconnects."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        if self._drift is not None:
            self._drift.close()
        self._again = None

    def _taken(self) -> Batch:
        """As many messages as may be in one batch: snapshots apart from changes, an emptied table alone."""
        changes: list[Change] = []
        rejects: list[RejectedRecord] = []
        sweeps: list[StaleRecordDeletion] = []
        is_known: bool | None = None
        data_type = ""
        while self._waiting and len(changes) + len(rejects) < _MOST_CHANGES:
            stream, message, is_last = self._waiting[0]
            found, is_snapshot, is_delete, gone = self._outcome(stream, message)
            if isinstance(found, StaleRecordDeletion) and (changes or rejects):
                break
            is_other = (
                found is not None
                and is_known is not None
                and (is_snapshot != is_known or (is_snapshot and found.data_type != data_type))
            )
            if is_other:
                break
            self._waiting.popleft()
            topic = stream.options.topic
            self._reached[topic][stream.name][message.partition] = message.offset + 1
            if is_last:
                self._offsets[topic][message.partition] = message.offset + 1
                read_at = self._read_at[topic]
                read_at[message.partition] = read_until(read_at[message.partition], message.at / 1e6)
            self._deleted[stream.name][message.partition] = digest(message.key) if is_delete else ""
            if gone is not None:
                changes.append(gone)
            if found is None:
                continue
            self._last = found.version
            is_known, data_type = is_snapshot, found.data_type
            happened = self._happened[topic]
            if isinstance(found, StaleRecordDeletion):
                sweeps.append(found)
                if others := [*happened[: message.partition], *happened[message.partition + 1 :]]:
                    self._emptied[topic] = Emptied(message.partition, message.offset, found.occurred_at)
                    if any(at is None or at >= found.occurred_at for at in others):
                        self._owed[stream.name] = None  # newer rows, which were read before, come back
                break
            if (at := happened[message.partition]) is not None:
                happened[message.partition] = max(at, found.occurred_at)
            if isinstance(found, Change):
                changes.append(found)
            else:
                rejects.append(found)
        copied = None
        if is_known and changes:
            self._count += len(changes)
            copied = (data_type, self._count, self._count)
        assert self._reader is not None
        is_caught_up = not self._waiting and self._reader.is_at_end
        if is_caught_up:
            self._note_end()
        return Batch(changes, rejects, sweeps, self._position(), is_caught_up, copied)

    def _stamped(self) -> Batch | None:
        """The position alone, now and then, while nothing comes."""
        assert self._reader is not None
        if not self._reader.is_at_end or time.monotonic() - self._stamped_at < _STAMP_EVERY:
            return None
        self._note_end()
        return Batch((), (), (), self._position(), caught_up=True)

    def _note_end(self) -> None:
        """Everything that there is now has been read."""
        self._stamped_at = time.monotonic()
        self._read_at = {topic: [time.time()] * len(offsets) for topic, offsets in self._offsets.items()}

    def _outcome(self, stream: TopicStream, message: TopicMessage) -> Outcome:
        """A tombstone means nothing after the delete that it follows; alone it is the delete."""
        if message.value is None and self._deleted[stream.name][message.partition] == digest(message.key):
            return Outcome(None)
        made = stream.outcome(message, self._next_version(), self._formats)
        emptied, found = self._emptied.get(stream.options.topic), made.found
        if found is not None and emptied is not None and emptied.follows(message, found.occurred_at):
            return made._replace(found=None, gone=None)
        rows = self._rows.get(stream.name)
        return rows.settled(made, message) if rows is not None else made

    def _read_again(self) -> Batch | None:
        """A part of what is owed. Unfinished while nothing is found."""
        if self._again is None:
            name, ids = self._owed.popitem()
            self._again_all = ids is None
            self._floor = self._last = self._next_version()
            wanted = None if ids is None else frozenset(ids)
            stream = next(one for one in self._all() if one.name == name)
            begins, until = self._begins[stream.options.topic], self._reached[stream.options.topic][name]
            self._again = stream, read_again(self._settings, stream, begins, list(until), wanted, self._formats)
        stream, messages = self._again
        until_time = time.monotonic() + _SLICE
        changes: list[Change] = []
        rejects: list[RejectedRecord] = []
        sweeps: list[StaleRecordDeletion] = []
        for newest in messages:
            if newest is not None:
                found, _, _, gone = newest.only(stream.outcome(newest.message, self._next_version(), self._formats))
                if gone is not None:
                    changes.append(gone)
                if isinstance(found, Change):
                    changes.append(found)
                elif isinstance(found, RejectedRecord):
                    rejects.append(found)
                if (told := found or gone) is not None:
                    self._last = told.version
            if time.monotonic() >= until_time or len(changes) >= _MOST_CHANGES:
                break
        else:
            self._again = None
            if self._again_all and self._former.pop(stream.name, None) is not None:
                now = time.time_ns() // 1000
                sweeps.append(StaleRecordDeletion(stream.name, self._floor, now, spares_rejected=True))
        if not changes and not rejects and not sweeps:
            if self._again is None:
                return None
            raise Unfinished(f"{self._system.name}: {stream.options.topic} is being read again", retry_after=0.0)
        copied = (stream.name, len(changes), len(changes)) if changes else None
        return Batch(changes, rejects, sweeps, self._position(), self._again is None and not self._owed, copied)

    def _next_version(self) -> int:
        return max(self._last + 1, time.time_ns() // 1000)

    def _position(self) -> Position:
        topics: dict[str, dict[str, object]] = {
            topic: {
                "id": self._ids[topic],
                "offsets": list(offsets),
                "read_at": list(self._read_at[topic]),
                "read": self._reader.last_read(topic, offsets) if self._reader else None,
                "deleted": list(self._deleted[self._streams[topic][-1].name]),
                "happened": list(self._happened[topic]),
                "emptied": list(self._emptied[topic]) if topic in self._emptied else None,
                "once": {stream.name: dict(stream.once) for stream in self._streams[topic] if stream.once},
                "meaning": {stream.name: stream.meaning for stream in self._streams[topic]},
                "keys": {one.name: self._former.get(one.name, [*one.options.key]) for one in self._streams[topic]},
            }
            for topic, offsets in self._offsets.items()
        }
        topics |= {topic: kept for topic, kept in self._left.items() if topic not in topics}
        owed = {one.options.topic for one in self._all() if self._owed.get(one.name, ()) is None}
        if self._again is not None and self._again_all:
            owed.add(self._again[0].options.topic)
        return cast("Position", {"version": self._last, "topics": topics, "owed": sorted(owed)})

    def _restore(self, topic: str, stored: Mapping[str, object]) -> None:
        """What else the position keeps of a topic; older ones lack it. LostPosition where a key is another."""
        once = cast("dict[str, dict[str, int]]", stored.get("once") or {})
        deleted = cast("list[str]", stored.get("deleted") or [])
        for stream in self._streams[topic]:
            stream.remember(once.get(stream.name, {}))
            self._deleted[stream.name][: len(deleted)] = deleted
            former = former_key(stream, stored, reads_again=self._system.system.on_lost_slot == "resnapshot")
            self._former |= {stream.name: former} if former is not None else {}
            if former is not None or is_read_otherwise(stream, stored):
                _log.info("%s: mapping of %s is new: all of %s is read again", self._system.name, stream.name, topic)
                self._owed[stream.name] = None
        unknown = [None] * len(cast("list[int]", stored["offsets"]))
        happened = cast("list[int | None]", stored.get("happened") or unknown)
        self._happened[topic][: len(happened)] = happened
        if emptied := cast("list[int] | None", stored.get("emptied")):
            self._emptied[topic] = Emptied(*emptied)

    def _all(self) -> Iterator[TopicStream]:
        for streams in self._streams.values():
            yield from streams

    def _by_stream(
        self, messages: Sequence[tuple[str, TopicMessage]]
    ) -> Iterator[tuple[TopicStream, TopicMessage, bool]]:
        """Each data type's messages together, since a batch tells of one snapshot."""
        for number in range(max(map(len, self._streams.values()))):
            for topic, message in messages:
                streams = self._streams[topic]
                if number < len(streams):
                    yield streams[number], message, number + 1 == len(streams)

    def _check(self) -> None:
        """Now and then: is it still the same topic, and does it hold what isn't read yet?"""
        now = time.monotonic()
        if now - self._checked_at < _CHECK_EVERY:
            return
        self._checked_at = now
        assert self._cluster is not None
        for topic, found in self._cluster.facts(list(self._streams)).items():
            known = self._offsets[topic]
            if why := why_lost(topic, self._ids[topic], known, [0.0] * len(known), found, None):
                raise TransientError(why, retry_after=1.0)  # opening decides
            if len(found.begins) > len(known):
                raise TransientError(f"the topic {topic} has new partitions", retry_after=1.0)
            self._begins[topic] = list(found.begins)
