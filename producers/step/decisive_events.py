"""Which events decide what is made when a whole topic is read: states that were replaced must not be made once more.

Else a record that fits now would be deleted because it didn't fit once, and made again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from confluent_kafka import Message

from sorbus.bus.kafka import bytes_of, offset_of, partition_of
from sorbus.errors import PermanentError, SorbusError
from sorbus.producers.step.earlier_records import EarlierRecords
from sorbus.producers.step.maker import StepCondition
from sorbus.producers.step.source_event import SourceEvent, SourceEvents, event_version, is_older
from sorbus.producers.step.source_topic import SourceTopic

_SLICE = 0.5
"""Seconds of reading after which the loop gets its turn."""
_Place = tuple[int, int]
"""Partition and offset."""


class DecisiveEvents:
    """Of each record the newest event, and the newest that says what is to be made, where that is another one.

    Newest by version: a topic that got more partitions has a record's events in two of them. `keeps`: a record that
    leaves says nothing, what it made stays as it was last made.
    """

    def __init__(
        self,
        topic: SourceTopic,
        events: SourceEvents,
        condition: StepCondition,
        earlier: EarlierRecords | None,
        *,
        keeps: bool,
    ) -> None:
        self._topic, self._events, self._condition = topic, events, condition
        self._earlier, self._keeps = earlier, keeps
        self.is_known = False
        self._begin()

    def advance(self) -> bool:
        """Reads a part; True once all is known. TransientError, after which it begins again."""
        if self.is_known:
            return True
        try:
            self._note(next(self._parts))
        except StopIteration:
            self.is_known = True
        except SorbusError:
            self._begin()
            raise
        return self.is_known

    def takes(self, message: Message) -> bool:
        """Whether it decides, or has come since."""
        number, offset = place = _place(message)
        if offset >= self._ends.get(number, 0):
            return True
        id = bytes_of(message.key())
        return any(noted.get(id, (None, None))[1] == place for noted in (self._newest, self._saying))

    def _begin(self) -> None:
        self._parts: Iterator[list[Message]] = self._topic.all_messages(_SLICE)
        self._newest: dict[bytes, tuple[int | None, _Place]] = {}
        self._saying: dict[bytes, tuple[int | None, _Place]] = {}
        self._ends: dict[int, int] = {}

    def _note(self, messages: list[Message]) -> None:
        now = time.time_ns() // 1000
        events = [self._events.read(message, now) for message in messages]
        if self._earlier is not None and events:
            self._earlier.load(events)
        for message, event in zip(messages, events, strict=True):
            id, noted = bytes_of(message.key()), (event_version(message), _place(message))
            number, offset = noted[1]
            self._ends[number] = offset + 1
            if not is_older(noted[0], self._newest.get(id, noted)[0]):
                self._newest[id] = noted
            if self._says(event) and not is_older(noted[0], self._saying.get(id, noted)[0]):
                self._saying[id] = noted
        if self._earlier is not None:
            self._earlier.save()

    def _says(self, event: SourceEvent) -> bool:
        """Whether it says what is to be made; as if it were taken, it is noted who fits and who has left."""
        if event.error is not None:
            return False
        try:
            is_met = self._condition.is_met(event)
        except PermanentError:
            return False
        if self._earlier is not None and is_met:
            return not self._earlier.holds(event)
        if self._earlier is not None:
            self._earlier.leave(event)
        return is_met or not self._keeps


def _place(message: Message) -> _Place:
    _, number = partition_of(message)
    return number, offset_of(message)
