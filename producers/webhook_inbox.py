"""A producer's webhooks: it is told of the inbox's notices, and its position says which of them are looked up."""

from __future__ import annotations

import logging
import time
from collections import deque

from pydantic import JsonValue

from sorbus.abilities import Notice, SupportsFullRefresh, SupportsNotifications
from sorbus.bus.inbox import POSITION_KEY, Inbox, MissingInbox
from sorbus.bus.names import Names
from sorbus.connector import Batch, BoundSystem, Position, Producer
from sorbus.settings import Settings

_log = logging.getLogger(__name__)
_OPEN_AGAIN = 30.0
_AT_ONCE = 20
"""Each costs a request, and between two reads of the producer the loop has to show that it is alive."""
_OWED = 0.02


class NoInbox:
    """Of a system without webhooks, or whose producer can't be told of changes."""

    problem: str | None = None

    def open(self, position: Position | None) -> Position | None:
        """Opens it; the stored position without the inbox's part. TransientError without Kafka."""
        return _without_inbox(position)

    def read_wait(self, wait: float) -> float:
        """How long the producer may wait for changes, of the `wait` seconds that there are."""
        return wait

    def complete(self, batch: Batch | None) -> Batch | None:
        """Called after every good read, with what it gave."""
        return batch

    def poll(self, wait: float) -> None:
        """Takes in what came within `wait` seconds."""

    def stored(self, position: Position) -> Position:
        """The producer's position with the inbox's part."""
        return position

    def close(self) -> None:
        """Reads no more."""


class InboxReader(NoInbox):
    """Feeds one producer from its system's inbox; `done` is the inbox's position up to which all is looked up."""

    def __init__(self, producer: SupportsNotifications, settings: Settings, names: Names, system: str) -> None:
        self._producer = producer
        self._settings, self._names, self._system = settings, names, system
        self._stored: dict[str, JsonValue] | None = None
        self._inbox: Inbox | None = None
        self._has_lost = False
        self._tries_at = 0.0
        self.problem: str | None = None
        """Why no webhook is heard, None if they are; the polls continue either way."""
        self._position: Position = {}
        self._waiting: deque[Notice] = deque()
        self._is_asked = False
        self.done: dict[str, JsonValue] = {}

    def open(self, position: Position | None) -> Position | None:
        """Begins after `position`, which holds an earlier one's `done`. TransientError without Kafka."""
        found = None if position is None else position.get(POSITION_KEY)
        self._stored = found if isinstance(found, dict) else None
        self.done = dict(self._stored or {})
        own = _without_inbox(position)
        self._position = own or {}
        self._try_to_open()
        return own

    def read_wait(self, wait: float) -> float:
        """None, the wait is the inbox's; but while records that were told of may not be looked up yet, a little."""
        return min(wait, _OWED) if self._is_owed else 0.0

    @property
    def _is_owed(self) -> bool:
        """Whether the producer is still to look up what it was told of last."""
        return self._is_asked and bool(getattr(self._producer, "owes", False))

    def complete(self, batch: Batch | None) -> Batch | None:
        """Called after every good read: what the producer was told before it has been looked up.

        Where that brought nothing new, a batch without changes carries the inbox's position.
        """
        if batch is not None:
            self._position = batch.position
        if not self._is_asked or self._is_owed:
            return batch
        self._is_asked = False
        if self._waiting:
            return batch
        if self._inbox is not None:
            self.done = self._inbox.position()
        return batch or Batch((), (), (), self._position, True)

    def poll(self, wait: float) -> None:
        """Takes in what came within `wait` seconds, and tells the producer some of it, if it has looked up the last."""
        if self._is_asked:
            return
        if self._has_lost and isinstance(self._producer, SupportsFullRefresh):
            self._has_lost = False
            _log.warning(
                "webhooks were lost before they were read (retention, a topic made again): all is compared now"
            )
            self._producer.list_anew()
        if self._inbox is None:
            self._try_to_open()
        if self._inbox is None:
            time.sleep(wait)
            return
        if not self._waiting:
            self._waiting.extend(self._inbox.read(wait))
        if self._waiting:
            self._producer.hear([self._waiting.popleft() for _ in range(min(_AT_ONCE, len(self._waiting)))])
            self._is_asked = True

    def stored(self, position: Position) -> Position:
        return {**position, POSITION_KEY: self.done}

    def close(self) -> None:
        if self._inbox is not None:
            self._inbox.close()

    def _try_to_open(self) -> None:
        if time.monotonic() < self._tries_at:
            return
        self._tries_at = time.monotonic() + _OPEN_AGAIN
        try:
            self._inbox = Inbox(self._settings, self._names, self._system, self._stored)
            self.problem = None
            self._has_lost = self._inbox.has_lost
        except MissingInbox as error:
            if self.problem is None:
                _log.warning("webhooks unavailable, polling continues: %s", error)
            self.problem = f"webhooks aren't heard: {error}"


def inbox_of(producer: Producer, system: BoundSystem, settings: Settings, names: Names) -> NoInbox:
    """The inbox of a system's producer, still to be opened."""
    if getattr(system.connection, "webhook_secret", None) and isinstance(producer, SupportsNotifications):
        return InboxReader(producer, settings, names, system.name)
    return NoInbox()


def _without_inbox(position: Position | None) -> Position | None:
    return None if position is None else {key: value for key, value in position.items() if key != POSITION_KEY}
