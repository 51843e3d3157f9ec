"""Topics' messages by the time at which they were written, across a topic's partitions.

A record's changes are in several partitions where partitions were added or `key:` names other columns than the
message's key, and an emptied table is told in one of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from heapq import heapify, heappop, heappush

from pydantic import JsonValue

from sorbus.bus.topic_reader import Offsets, TopicMessage, TopicReader

_MOST_HELD = 20_000
"""Messages of a partition that wait for older ones of others; then it is paused."""
_MOST_BYTES = 128_000_000
"""Of the waiting messages of all partitions, shared out among them."""


class OrderedReader:
    """Puts what a reader brings into order. A message waits until every partition's next one is there, or its end."""

    def __init__(self, reader: TopicReader, offsets: Offsets) -> None:
        self._reader = reader
        self._held = {topic: [_Held() for _ in ats] for topic, ats in offsets.items()}
        self._most_bytes = _MOST_BYTES // max(1, sum(map(len, offsets.values())))
        self._paused: set[tuple[str, int]] = set()

    @property
    def is_at_end(self) -> bool:
        """Whether everything that there was has been returned."""
        return self._reader.is_at_end and not any(any(parts) for parts in self._held.values())

    def read(self, wait: float) -> Iterator[tuple[str, TopicMessage]]:
        """What came within `wait` seconds and is next. TransientError, LostPosition."""
        for topic, message in self._reader.read(wait):
            self._held[topic][message.partition].put(message)
        for topic, parts in self._held.items():
            yield from ((topic, message) for message in self._next(topic, parts))
            for number, part in enumerate(parts):
                place = topic, number
                fill = max(len(part) / _MOST_HELD, part.size / self._most_bytes)
                if fill >= 1 and place not in self._paused:
                    self._reader.pause(*place)
                    self._paused.add(place)
                elif fill < 0.5 and place in self._paused:
                    self._reader.resume(*place)
                    self._paused.remove(place)

    def last_read(self, topic: str, offsets: Sequence[int]) -> list[JsonValue]:
        """As `TopicReader.last_read`."""
        return self._reader.last_read(topic, offsets)

    def close(self) -> None:
        """Leaves the cluster."""
        self._reader.close()

    def _next(self, topic: str, parts: list[_Held]) -> Iterator[TopicMessage]:
        if any(not part and self._reader.is_behind(topic, number) for number, part in enumerate(parts)):
            return
        heads = [(part[0].at, number) for number, part in enumerate(parts) if part]
        heapify(heads)
        while heads:
            _, number = heappop(heads)
            part = parts[number]
            yield part.take()
            if part:
                heappush(heads, (part[0].at, number))
            elif self._reader.is_behind(topic, number):
                return


class _Held(deque[TopicMessage]):
    """A partition's messages that wait. `size`: bytes of their keys and values."""

    size = 0

    def put(self, message: TopicMessage) -> None:
        self.size += _size(message)
        self.append(message)

    def take(self) -> TopicMessage:
        message = self.popleft()
        self.size -= _size(message)
        return message


def _size(message: TopicMessage) -> int:
    return len(message.key or b"") + len(message.value or b"")
