"""What the loop does about webhooks: tells the producer of the inbox's notices, and keeps count of what is answered."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from pydantic import JsonValue

from sorbus.bus.inbox import Inbox
from sorbus.bus.names import Names
from sorbus.connector import Batch, Hears, Notice, Position
from sorbus.settings import Settings

_AT_ONCE = 20
"""Each costs a request, and between two reads of the producer the loop has to show that it is alive."""


class Ear:
    """Feeds one producer from its system's inbox; `done` is the inbox's position up to which all is answered."""

    def __init__(
        self,
        producer: Hears,
        settings: Settings,
        names: Names,
        system: str,
        stored: Mapping[str, JsonValue] | None,
        position: Position,
    ) -> None:
        """`stored` is an earlier one's `done`; `position` the producer's own, until a batch brings a newer one."""
        self._producer = producer
        self._inbox = Inbox(settings, names, system, stored)
        self._position = position
        self._waiting: deque[Notice] = deque()
        self._is_asked = False
        self.done: dict[str, JsonValue] = dict(stored or {})

    def answered(self, batch: Batch | None) -> Batch | None:
        """Called after every good read: what the producer was told before it has been looked up.

        Where that brought nothing new, a batch without changes carries the inbox's position.
        """
        if batch is not None:
            self._position = batch.position
        if self._is_asked and not self._waiting:
            self.done = self._inbox.position()
            batch = batch or Batch((), (), (), self._position, True)
        self._is_asked = False
        return batch

    def listen(self, wait: float) -> None:
        """Takes in what came within `wait` seconds, and tells the producer some of it, if it has looked up the last."""
        if self._is_asked:
            return
        if not self._waiting:
            self._waiting.extend(self._inbox.read(wait))
        if self._waiting:
            self._producer.hear([self._waiting.popleft() for _ in range(min(_AT_ONCE, len(self._waiting)))])
            self._is_asked = True

    def close(self) -> None:
        self._inbox.close()
