"""Topics' messages by the time at which they were written, across a topic's partitions.

A record's changes are in several partitions where partitions were added or `key:` names other columns than the
message's key, and an emptied table is told in one of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from heapq import heapify, heappop, heappush

from sorbus.bus.topic_reader import Offsets, TopicMessage, TopicReader

_MOST_HELD = 20_000
"""Messages of a partition that wait for older ones of others; then it is paused."""


class OrderedReader:
    """Puts what a reader brings into order. A message waits until every partition's next one is there, or its end."""

    def __init__(self, reader: TopicReader, offsets: Offsets) -> None:
        self._reader = reader
        self._held = {topic: [deque[TopicMessage]() for _ in ats] for topic, ats in offsets.items()}
        self._paused: set[tuple[str, int]] = set()

    @property
    def is_at_end(self) -> bool:
        """Whether everything that there was has been returned."""
        return self._reader.is_at_end and not any(any(parts) for parts in self._held.values())

    def read(self, wait: float) -> Iterator[tuple[str, TopicMessage]]:
        """What came within `wait` seconds and is next. TransientError, LostPosition."""
        for topic, message in self._reader.read(wait):
            self._held[topic][message.partition].append(message)
        for topic, parts in self._held.items():
            yield from ((topic, message) for message in self._next(topic, parts))
            for number, part in enumerate(parts):
                place = topic, number
                if len(part) >= _MOST_HELD and place not in self._paused:
                    self._reader.pause(*place)
                    self._paused.add(place)
                elif len(part) < _MOST_HELD // 2 and place in self._paused:
                    self._reader.resume(*place)
                    self._paused.remove(place)

    def close(self) -> None:
        """Leaves the cluster."""
        self._reader.close()

    def _next(self, topic: str, parts: list[deque[TopicMessage]]) -> Iterator[TopicMessage]:
        if any(not part and self._reader.is_behind(topic, number) for number, part in enumerate(parts)):
            return
        heads = [(part[0].at, number) for number, part in enumerate(parts) if part]
        heapify(heads)
        while heads:
            _, number = heappop(heads)
            part = parts[number]
            yield part.popleft()
            if part:
                heappush(heads, (part[0].at, number))
            elif self._reader.is_behind(topic, number):
                return
