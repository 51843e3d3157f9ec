"""The topic that a step reads: where it has got to, and whether it is still the same topic."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from functools import partial
from typing import cast

from confluent_kafka import Message

from sorbus.bus.committed import read_until
from sorbus.bus.kafka import offset_of, partition_of
from sorbus.bus.topic_facts import TopicFacts
from sorbus.bus.topic_reader import ClusterTopics, TopicReader, why_lost
from sorbus.connector import Position
from sorbus.errors import LostPosition
from sorbus.settings import Settings

_CHECK_EVERY = 10.0
_STAMP_EVERY, _IDLE_STAMP = 3600.0, 10.0
"""Seconds after which the position of a quiet topic is stored: again and again, and once it was read to the end."""


class SourceTopic:
    """One step's, read in order. `open` it, and `close` it."""

    def __init__(self, settings: Settings, topic: str, step: str, *, may_reread: bool, needs_all: bool = False) -> None:
        """`needs_all`: it is read from its beginning at each start, and so must hold what was read before, too."""
        self.topic, self._step, self._settings, self._may_reread = topic, step, settings, may_reread
        self._needs_all = needs_all
        self._cluster = ClusterTopics(settings, "run `sorbus apply`")
        self._reader: TopicReader | None = None
        self._waiting: deque[Message] = deque()
        self._id = ""
        self.begins: list[int] = []
        self.offsets: list[int] = []
        self._read_at: list[float] = []
        """Of each partition, how late what was read is (`read_until`); 0: not known."""
        self.has_grown = False
        """Whether it got more partitions since it was read: events of a record may be in two of them."""
        self._why_not = ""
        """Why reading can't go on."""
        self._is_end_noted = False
        self._checked_at = self._stamped_at = 0.0

    def open(self, stored: Position | None) -> str:
        """Resumes after what is stored; why it begins with what the topic holds, where it can't. LostPosition."""
        facts = self._facts()
        why = "" if stored is None else self._why_lost(stored, facts, is_start=True)
        self._id, self.begins, self.offsets = facts.id, list(facts.begins), list(facts.begins)
        self._read_at = [time.time()] * len(facts.begins)
        if stored is not None and not why:
            before = cast("list[int]", stored["offsets"])
            self.has_grown = len(before) < len(self.offsets)
            self.offsets[: len(before)] = before
            self._read_at[: len(before)] = cast("list[float]", stored["read_at"])
        self._begin(stored or {})
        return why

    def rewind(self) -> None:
        """Begins again with the oldest message."""
        facts = self._facts()
        self._id, self.begins, self.offsets = facts.id, list(facts.begins), list(facts.begins)
        self._read_at = [time.time()] * len(facts.begins)
        self.has_grown = False
        self._begin()

    @property
    def is_at_end(self) -> bool:
        """Whether everything was read and taken."""
        return not self._waiting and self._reader is not None and self._reader.is_at_end

    def read(self, wait: float, most: int) -> list[Message]:
        """The next messages, not yet taken. TransientError, LostPosition."""
        assert self._reader is not None
        try:
            if not self._waiting:
                self._waiting.extend(self._reader.messages(wait))
        except LostPosition as error:  # found before the next look at the topic
            if not self._may_reread:
                raise
            self._why_not = str(error)
        return [message for message, _ in zip(self._waiting, range(most), strict=False)]

    def taken(self, count: int) -> None:
        """So many of them are done with."""
        for _ in range(count):
            message = self._waiting.popleft()
            _, number = partition_of(message)
            self.offsets[number] = offset_of(message) + 1
            _, millis = message.timestamp()
            self._read_at[number] = read_until(self._read_at[number], millis / 1000)
            self._is_end_noted = False
        if self.is_at_end:
            self._note_end()

    def check(self) -> str:
        """Now and then: why the topic is no longer the one that is read, "" if it is. LostPosition."""
        if self._why_not:
            why, self._why_not = self._why_not, ""
            return why
        now = time.monotonic()
        if now - self._checked_at < _CHECK_EVERY:
            return ""
        self._checked_at = now
        found = self._facts()
        if why := self._why_lost(self.position(), found):
            return why
        if more := found.begins[len(self.offsets) :]:
            self.has_grown = True
            self.begins += more
            self.offsets += more
            self._read_at += [time.time()] * len(more)
            self._begin()
        return ""

    def is_due(self) -> bool:
        """Whether the position of a quiet topic is to be stored again."""
        pause = _STAMP_EVERY if self._is_end_noted else _IDLE_STAMP
        if not self.is_at_end or time.monotonic() - self._stamped_at < pause:
            return False
        self._note_end()
        return True

    def position(self) -> Position:
        """Where it is, for `open`."""
        made = {"id": self._id, "begins": self.begins, "offsets": list(self.offsets), "read_at": list(self._read_at)}
        if self._reader is not None:
            made["read"] = self._reader.last_read(self.topic, self.offsets)
        return cast("Position", made)

    def all_messages(self, wait: float) -> Iterator[list[Message]]:
        """Every message from the oldest to the newest, by another reader, in parts; an empty one now and then."""
        facts = self._facts()
        reader = TopicReader(self._settings, f"step-{self._step}-all", {self.topic: list(facts.begins)}, may_skip=True)
        try:
            while not reader.is_at_end:
                yield list(reader.messages(wait))
        finally:
            reader.close()

    def close(self) -> None:
        """Disconnects."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        self._waiting.clear()

    def _begin(self, stored: Position | None = None) -> None:
        stored = self.position() if stored is None else stored
        self.close()
        self._checked_at = self._stamped_at = time.monotonic()
        self._reader = TopicReader(
            self._settings, f"step-{self._step}", {self.topic: self.offsets}, self._lost, stored={self.topic: stored}
        )

    def _note_end(self) -> None:
        """Everything that there is now has been read, the transactions' markers too."""
        assert self._reader is not None
        self._is_end_noted, self._stamped_at = True, time.monotonic()
        for (_, number), end in self._reader.ends.items():
            self.offsets[number] = max(self.offsets[number], end)
        self._read_at = [time.time()] * len(self.offsets)

    def _facts(self) -> TopicFacts:
        return self._cluster.facts([self.topic])[self.topic]

    def _why_lost(self, stored: Position, found: TopicFacts, *, is_start: bool = False) -> str:
        kept = self._cluster.deletes_kept([self.topic]).get(self.topic)
        before, at = cast("list[int]", stored["offsets"]), cast("list[float]", stored["read_at"])
        why = why_lost(self.topic, str(stored["id"]), before, at, found, kept)
        if is_start and not why:
            why = self._cluster.cut_off({self.topic: found}, {self.topic: stored}).get(self.topic, "")
        if is_start and self._needs_all and not why:
            cut = (now - then for then, now in zip(cast("list[int]", stored["begins"]), found.begins, strict=False))
            if (count := sum(map(partial(max, 0), cut))) > 0:
                why = f"{count:,} messages of the topic {self.topic} were removed (retention, or deleted records)"
        if why and not self._may_reread:
            raise LostPosition(self._lost(why))
        return why

    def _lost(self, why: str) -> str:
        return (
            f"{why}, so that records may be missing: see that the topic holds every record again (the producer of its"
            f" owner fills it), and write `on_lost_events: reread` under the step {self._step} to read it from its"
            " beginning"
        )
