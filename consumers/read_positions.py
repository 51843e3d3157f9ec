"""Where a flow resumes in each partition, and whether the topic still holds all that comes after it.

Each committed offset carries, as its metadata, the id of the topic it belongs to and how late what was read is: a topic
that was deleted and made again has another id, and Kafka forgets deletes that nobody has read for
`delete.retention.ms`, be it that the flow was away, or that it reads all the time and is so far behind.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable, Sequence
from functools import partial

from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, TopicPartition

from sorbus.abilities import Progress
from sorbus.bus.committed import REMOVED, CommittedPosition, forgotten_since, lost_since, read_until
from sorbus.bus.kafka import Partition, admin, kafka_errors
from sorbus.bus.names import Names
from sorbus.bus.read_times import ReadTime
from sorbus.bus.topic_facts import TopicFacts, first_written, recent_topic_ids, topic_facts
from sorbus.bus.topic_settings import deletes_kept
from sorbus.bus.truncation import CUT_OFF, ReadUpTo, cut_off, read_up_to
from sorbus.calendar_limits import moment_of
from sorbus.connector import BoundFlow
from sorbus.errors import LostPosition
from sorbus.flow_place import place_of_flow, rules_of_flow
from sorbus.history.read import last_delivery
from sorbus.settings import Settings

_TIMEOUT = 10.0
_COMPARE_EVERY = 10.0
_STAMP_EVERY = 3600.0
"""Seconds after which an idle flow's offsets are committed again, to show that the group is still active."""
_log = logging.getLogger(__name__)


class ReadPositions:
    """One flow's positions, in its data type's topic and others: all that these lose is a dead letter still."""

    def __init__(self, settings: Settings, names: Names, flow: BoundFlow) -> None:
        """MapError. Asks nobody."""
        self._settings, self._admin = settings, admin(settings)
        self._flow, self._events = flow.flow.id, names.topic(flow.flow.data_type)
        self._rereads = flow.flow.on_lost_events == "reread"
        self._place, self._rules = place_of_flow(flow), rules_of_flow(flow)
        """Where in its target the flow writes, and a digest of what it makes of events there."""
        self._rules_since: dict[Partition, float] = {}
        """When other rules began for a partition, of which some was delivered by former ones."""
        self._read_time = ReadTime(settings, names, self._flow)
        self._last_delivery = partial(last_delivery, flow.system.topic_prefix, self._flow, flow.flow.data_type)
        self._ids: dict[str, str] = {}
        self._unchecked: dict[Partition, CommittedPosition | None] = {}
        self._moved: dict[Partition, tuple[int, float]] = {}
        """The offset of each partition that was committed last, and how late it is (monotonic seconds)."""
        self._kept: dict[str, float] = {}
        self.noted: dict[Partition, int] = {}
        """Up to where the target is known to have noted that it has the events."""
        self.deferred: dict[Partition, int] = {}
        """How often records of a partition were deferred: committed with its offsets."""
        self._read: dict[Partition, ReadUpTo] = {}
        self._went_back: set[Partition] = set()
        """Partitions that are read again since the target was found in an earlier state, until that was looked at."""
        self.unrepeated = ""
        """What the target lacks since then and its topic doesn't hold any more, in words."""
        self._compared_at = self._stamped_at = time.monotonic()

    def begin(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> list[TopicPartition]:
        """Newly assigned partitions with where to resume: the committed offset, or else the beginning."""
        with kafka_errors(f"reading the offsets of flow {self._flow}"):
            committed = consumer.committed(list(partitions), timeout=_TIMEOUT)
        begun = []
        for part in committed:
            place = CommittedPosition.of(part)
            self._unchecked[part.topic, part.partition] = place
            if place is not None and place.noted >= 0:
                self.noted[part.topic, part.partition] = place.noted
            elif place is not None and place.is_foreign:
                _log.warning(
                    "flow %s: the offset of its group in %s (partition %d) was set by others, to %d: what lies before"
                    " counts as delivered; if that wasn't meant: `sorbus replay %s`",
                    self._flow, part.topic, part.partition, part.offset, self._flow,
                )  # fmt: skip
            if place is not None and place.deferred:
                self.deferred[part.topic, part.partition] = place.deferred
            if place is not None and place.read is not None:
                self._read[part.topic, part.partition] = place.read
            is_new = place is None or self._is_elsewhere(part.topic, place)
            self._rules_since[part.topic, part.partition] = 0.0 if is_new or place is None else self._since(part, place)
            offset = OFFSET_BEGINNING if is_new or place is None else place.offset
            begun.append(TopicPartition(part.topic, part.partition, offset))
        return begun

    def _is_elsewhere(self, topic: str, before: CommittedPosition) -> bool:
        """Whether the flow was pointed at another place of its target since then."""
        if topic != self._events or not before.place or before.place == self._place:
            return False
        _log.warning(
            "flow %s wrote to %s, and writes to %s now: it reads %s from the beginning, so that all of it is there;"
            " what it wrote before stays where it is",
            self._flow, before.place, self._place, topic,
        )  # fmt: skip
        return True

    def _since(self, part: TopicPartition, before: CommittedPosition) -> float:
        if part.topic != self._events or not before.rules or before.rules == self._rules:
            return before.since
        _log.warning(
            "flow %s: the map makes something else of records than before (%s, partition %d): what was delivered stays"
            " as it is until it changes; `sorbus plan %s` counts what would differ, `sorbus replay %s` brings it",
            self._flow, part.topic, part.partition, self._flow, self._flow,
        )  # fmt: skip
        return time.time()

    def forget(self, partitions: Iterable[TopicPartition]) -> None:
        """Partitions that are another member's now."""
        for part in partitions:
            self._unchecked.pop((part.topic, part.partition), None)
            self._moved.pop((part.topic, part.partition), None)
            self.noted.pop((part.topic, part.partition), None)
            self.deferred.pop((part.topic, part.partition), None)
            self._rules_since.pop((part.topic, part.partition), None)
            self._read.pop((part.topic, part.partition), None)
            self._went_back.discard((part.topic, part.partition))

    def has_read(self, partition: Partition, message: Message) -> None:
        """The last event that was read of a partition."""
        if (read := read_up_to(message)) is not None:
            self._read[partition] = read

    def goes_back(self, partition: Partition, to: Progress | None) -> int:
        """The target has no more than this of a partition: from where on it is to be read again.

        `check` looks whether the topic still holds all of it, where it was noted at a time that counts.
        """
        if to is None:
            self._begun_again([partition])
            return OFFSET_BEGINNING
        if partition in self.noted:
            self.noted[partition] = min(to.offset, self.noted[partition])
        if to.noted_at:
            self._unchecked[partition] = CommittedPosition(to.offset, self._ids[partition[0]], to.noted_at)
            self._went_back.add(partition)
        return to.offset

    def id_of(self, topic: str) -> str:
        """A topic's id in Kafka; "" before `check` has found it."""
        return self._ids.get(topic, "")

    def check(self) -> list[Partition]:
        """Compares what is new, and now and then the topics: the partitions to be read from their beginning.

        LostPosition where events are gone and the map doesn't say to reread. TransientError when Kafka can't be asked.
        """
        for partition, (offset, since) in self._moved.items():
            if self._is_late(partition):  # it was paused, waited for its time or its target, or is slow
                at = _moment(since)
                self._unchecked.setdefault(partition, CommittedPosition(offset, self._ids[partition[0]], at))
        if self._unchecked:
            return self._check_new()
        now = time.monotonic()
        if now - self._compared_at > _COMPARE_EVERY:
            self._compared_at = now
            found = recent_topic_ids(self._admin, self._ids, _COMPARE_EVERY / 2)
            remade = [topic for topic, id in self._ids.items() if topic in found and found[topic][0] != id]
            for topic in remade:
                self._lost((topic, 0), "{} was deleted and made again while it was read")
                self._ids[topic] = found[topic][0]
            return self._begun_again((topic, partition) for topic in remade for partition in range(found[topic][1]))
        return []

    def committed(self) -> None:
        """Offsets have been committed."""
        since = [since for (topic, _), (_, since) in self._moved.items() if topic == self._events]
        self._read_time.note(_moment(min(since, default=time.monotonic())))

    def fell_behind(self, partition: Partition) -> Partition:
        """Kafka no longer has the offset we were to read next. LostPosition, or the partition to begin again."""
        self._lost(partition, f"messages of {{}} {REMOVED}")
        self._begun_again([partition])
        return partition

    def stamped(self, partition: Partition, offset: int, written: float) -> TopicPartition:
        """An offset to be committed, with what `CommittedPosition` reads.

        `written`: when its last message was (seconds since 1970), or when it was known that there is none behind it.
        """
        until = self.read_until(partition, written)
        self._moved[partition] = offset, time.monotonic() - (time.time() - until)
        said: dict[str, object] = {"topic": self._ids.get(partition[0], ""), "at": int(until)}
        if partition in self.noted:
            said["noted"] = self.noted[partition]
        if partition[0] == self._events:
            said |= {"place": self._place, "rules": self._rules}
            if since := self._rules_since.get(partition):
                said["since"] = int(since)
        if partition in self.deferred:
            said["deferred"] = self.deferred[partition]
        if (read := self._read.get(partition)) is not None:
            said["read"] = [min(read.offset, offset), read.epoch]  # what is committed may lie before what was read
        return TopicPartition(*partition, offset, json.dumps(said, separators=(",", ":")))

    def read_until(self, partition: Partition, written: float) -> float:
        """How late a position is whose last message was `written` then (both in seconds since 1970)."""
        _, since = self._moved.get(partition, (0, time.monotonic()))
        until = _moment(since)
        return until if self._is_late(partition) else read_until(until, written)  # `check` is still to see the first

    @property
    def is_stamp_due(self) -> bool:
        """Whether offsets that haven't moved for long are to be committed again."""
        now = time.monotonic()
        due = now - self._stamped_at > _STAMP_EVERY
        if due:
            self._stamped_at = now
        return due

    def _check_new(self) -> list[Partition]:
        facts = topic_facts(self._admin, {topic for topic, _ in self._unchecked})
        self._kept |= deletes_kept(self._admin, facts)
        read = {at: place.read for at, place in self._unchecked.items() if place is not None and place.read is not None}
        same = {at: one for at, one in read.items() if at[0] in facts and self._is_of(at, facts[at[0]])}
        cut, again = cut_off(self._settings, facts, same), []
        for partition, place in list(self._unchecked.items()):
            topic, number = partition
            if topic not in facts:
                continue  # it is still to be made
            self._ids[topic] = facts[topic].id
            away = 0.0
            if place is not None:
                if place.topic != facts[topic].id:
                    self.noted.pop(partition, None)
                why = lost_since(place, facts[topic], number, self._kept.get(topic))
                why = why or (CUT_OFF if partition in cut else None)
                if why:
                    self._lost(partition, why)
                    again.append(partition)
                elif place.at and place.offset < facts[topic].ends[number]:
                    away = max(0.0, time.time() - place.at)
            elif topic == self._events and number == 0:
                _log.info("flow %s has no offsets: it reads %s from the beginning", self._flow, topic)
                if why := self._forgotten(topic, len(facts[topic].ends)):
                    self._lost(partition, why)
            self._moved[partition] = place.offset if place else 0, time.monotonic() - away
            del self._unchecked[partition]
            self._went_back.discard(partition)
        return again

    def _forgotten(self, topic: str, partitions: int) -> str | None:
        """Why deletes may be lost, where there is no offset.

        A topic that holds what was written before the flow delivered last is the one that it read: then it ended before
        its first offset was committed, or somebody deleted its group.
        """
        last, kept = self._read_time.last(), self._kept.get(topic)
        if last is not None or (delivered := self._last_delivery()) is None:
            return forgotten_since(last, kept)
        written = first_written(self._admin, topic, partitions)
        if written is not None and written < delivered.began:
            return forgotten_since(delivered.began, kept)
        until = f"{moment_of(1e6 * delivered.ended).astimezone():%Y-%m-%d %H:%M %Z}"
        return (
            f"{{}} is another one: Kafka knows nothing of this flow, which delivered until {until}, so it was emptied,"
            " or is another cluster; what wasn't delivered by then may be lost"
        )

    def _begun_again(self, partitions: Iterable[Partition]) -> list[Partition]:
        """They are read from their beginning now: what was deleted before has no older state to be read."""
        found = list(partitions)
        self._moved |= dict.fromkeys(found, (0, time.monotonic()))
        for partition in found:
            self.noted.pop(partition, None)
            self._read.pop(partition, None)
        return found

    def _is_of(self, partition: Partition, facts: TopicFacts) -> bool:
        place = self._unchecked.get(partition)
        return place is not None and place.topic == facts.id and partition[1] < len(facts.ends)

    def _is_late(self, partition: Partition) -> bool:
        """Whether what is to be read next may be older than the topic keeps deletes."""
        _, since = self._moved.get(partition, (0, 0.0))
        kept = self._kept.get(partition[0])
        return partition in self._moved and kept is not None and time.monotonic() - since > kept

    def _lost(self, partition: Partition, why: str) -> None:
        said = why.format(f"{partition[0]} (partition {partition[1]})")
        if partition in self._went_back and partition[0] != self._events:
            self.unrepeated = (
                f"{said}: what requeued dead letters and records that had waited brought by then is missing"
            )
            _log.error("flow %s: %s in the target; `sorbus replay %s`", self._flow, self.unrepeated, self._flow)
        elif partition[0] != self._events:
            _log.error("flow %s: %s: requeued dead letters are still open; requeue them again", self._flow, said)
        elif self._rereads:
            _log.error(
                "flow %s: %s: it reads the topic from its beginning, as on_lost_events says; records that were deleted"
                " meanwhile may be left in the target",
                self._flow,
                said,
            )
        else:
            raise LostPosition(
                f"flow {self._flow}: {said}, so that the target lacks changes"
                " (docs/runbooks/topic-lost.md). It stops in place of skipping them. See why the topic lost them"
                " (`sorbus plan` shows settings that differ); the owner's producer publishes"
                " every record again. Then write `on_lost_events: reread` under the flow in the map and start it: it"
                " reads the topic from its beginning. Records that were deleted meanwhile may be left in the target"
            )


def _moment(since: float) -> float:
    """What a clock that doesn't jump said then, in seconds since 1970."""
    return time.time() - (time.monotonic() - since)
