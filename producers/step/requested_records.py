"""Records that a step is to make again: their newest events are searched for in all of its topic."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from confluent_kafka import Message

from sorbus.bus.kafka import bytes_of, offset_of, partition_of
from sorbus.producers.step.source_event import event_version, is_older
from sorbus.producers.step.source_topic import SourceTopic

_SLICE = 0.5
"""Seconds of reading after which the loop gets its turn."""


class FoundRecords(NamedTuple):
    """Newest events, and ids of which the topic has none."""

    messages: list[Message]
    absent: list[bytes]


class RequestedRecords:
    """One step's. While it searches, the topic must not be read on: what was found would be older than what is made.

    `named`: those that people asked for. The others have open dead letters, and are tried again at each start.
    """

    def __init__(self, topic: SourceTopic) -> None:
        self._topic = topic
        self.named: set[bytes] = set()
        self._letters: set[bytes] = set()
        self._search: _Search | None = None

    def __bool__(self) -> bool:
        return bool(self.named or self._letters)

    def add(self, ids: Iterable[bytes], *, are_named: bool) -> None:
        """They are wanted, also where they were found a moment ago."""
        (self.named if are_named else self._letters).update(ids)
        self.search_again()

    def search_again(self) -> None:
        """What was found is out of date, or the search has failed: the next `find` begins anew."""
        self._search = None

    def all_have_come(self) -> None:
        """Everything was read: nothing is left to do for dead letters."""
        self._letters.clear()
        self.search_again()

    def find(self, most: int) -> FoundRecords | None:
        """Up to `most` of them, for `done`; None while it searches. TransientError, LostPosition."""
        if self._search is None:
            self._search = _Search(self._topic, self.named | self._letters)
        if not self._search.advance():
            return None
        self._drop(self._search.later)
        messages = list(self._search.newest.values())[:most]
        absent = self._search.ids - self._search.newest.keys() if len(messages) < most else set()
        return FoundRecords(messages, sorted(absent))

    def done(self, found: FoundRecords) -> None:
        """These have been made again."""
        self._drop({*found.absent, *(bytes_of(message.key()) for message in found.messages)})

    def _drop(self, ids: set[bytes]) -> None:
        assert self._search is not None
        self.named -= ids
        self._letters -= ids
        self._search.ids -= ids
        for id in ids:
            self._search.newest.pop(id, None)


class _Search:
    """Through the topic from its beginning, up to what was taken already."""

    def __init__(self, topic: SourceTopic, ids: set[bytes]) -> None:
        self._until = list(topic.offsets)
        self._parts: Iterator[list[Message]] | None = topic.all_messages(_SLICE)
        self.ids = ids
        self.newest: dict[bytes, Message] = {}
        self.later: set[bytes] = set()
        """Those of which only events were found that are not taken yet: they will come."""

    def advance(self) -> bool:
        """Searches a part; True at the end."""
        part = next(self._parts, None) if self._parts is not None else None
        if part is None:
            self._parts = None
            return True
        for message in part:
            id, (_, number), offset = bytes_of(message.key()), partition_of(message), offset_of(message)
            if id in self.ids and number < len(self._until) and offset < self._until[number]:
                self.later.discard(id)
                before = self.newest.get(id)
                if before is None or not is_older(event_version(message), event_version(before)):
                    self.newest[id] = message
            elif id in self.ids and id not in self.newest:
                self.later.add(id)
        return False
