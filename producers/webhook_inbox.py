"""What the loop does about webhooks: tells the producer of the inbox's notices, and keeps count of what is answered."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Mapping
from functools import partial

from pydantic import JsonValue

from sorbus.abilities import Notice, SupportsFullRefresh, SupportsNotifications
from sorbus.bus.inbox import Inbox, MissingInbox
from sorbus.bus.names import Names
from sorbus.connector import Batch, Position
from sorbus.settings import Settings

_log = logging.getLogger(__name__)
_OPEN_AGAIN = 30.0
_AT_ONCE = 20
"""Each costs a request, and between two reads of the producer the loop has to show that it is alive."""


class InboxReader:
    """Feeds one producer from its system's inbox; `done` is the inbox's position up to which all is answered."""

    def __init__(
        self,
        producer: SupportsNotifications,
        settings: Settings,
        names: Names,
        system: str,
        stored: Mapping[str, JsonValue] | None,
        position: Position,
    ) -> None:
        """`stored` is an earlier one's `done`; `position` the producer's own, until a batch brings a newer one.

        TransientError without Kafka.
        """
        self._producer = producer
        self._open = partial(Inbox, settings, names, system, stored)
        self._inbox: Inbox | None = None
        self._has_lost = False
        self._tries_at = 0.0
        self.problem: str | None = None
        """Why no webhook is heard, None if they are; the polls go on either way."""
        self._try_to_open()
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
        if not self._is_asked or getattr(self._producer, "owes", False):
            return batch
        self._is_asked = False
        if self._waiting:
            return batch
        if self._inbox is not None:
            self.done = self._inbox.position()
        return batch or Batch((), (), (), self._position, True)

    def listen(self, wait: float) -> None:
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

    def close(self) -> None:
        if self._inbox is not None:
            self._inbox.close()

    def _try_to_open(self) -> None:
        if time.monotonic() < self._tries_at:
            return
        self._tries_at = time.monotonic() + _OPEN_AGAIN
        try:
            self._inbox, self.problem = self._open(), None
            self._has_lost = self._inbox.has_lost
        except MissingInbox as error:
            if self.problem is None:
                _log.warning("webhooks unavailable, polling continues: %s", error)
            self.problem = f"webhooks aren't heard: {error}"
