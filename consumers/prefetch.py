"""Fetching the next batch while the target is at work on one, in a thread that runs no longer than that.

Only calls of Kafka's client let a consumer group move partitions. A move waits until the batch in hand has landed, as
it does without a prefetch: by then, what the next owner of a partition reads on from has been committed.
"""

from __future__ import annotations

import contextvars
import logging
import threading
from collections.abc import Callable, Mapping, Sequence

from confluent_kafka import Message

from sorbus.bus.kafka import Partition, partition_of

WORTHWHILE = 500
"""Events of a batch from which the next one is fetched meanwhile: a thread costs more than a small batch."""
_MOST_BYTES = 8_000_000
_SLICE = 0.005
_log = logging.getLogger(__name__)


class Prefetch:
    """One group member's. `consume` gives at most so many messages within so many seconds."""

    def __init__(self, consume: Callable[[int, float], list[Message]]) -> None:
        self._consume = consume
        self._thread: threading.Thread | None = None
        self._may_move = threading.Event()
        self._may_move.set()
        self._found: list[Message] = []
        self._error: BaseException | None = None

    def begin(self, most: int, on_full: Callable[[Sequence[Message]], None]) -> None:
        """Fetches until `end`, or until there are `most` messages or 8 MB; with `most`, the thread calls `on_full`."""
        if self._thread is None and len(self._found) < most:
            self._may_move.clear()
            logged_as = contextvars.copy_context()
            thread = threading.Thread(
                target=logged_as.run, args=(self._fetch, most, on_full), name="prefetch", daemon=True
            )
            try:
                thread.start()
            except RuntimeError as error:  # the process may have no more of them: it works without
                self._may_move.set()
                _log.debug("nothing is fetched ahead: %s", error)
                return
            self._thread = thread

    def end(self) -> None:
        """Lets partitions move, and returns when nothing is being fetched. Does nothing in its own thread."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            self._may_move.set()
            thread.join()
            self._thread = None

    def wait_to_move(self) -> None:
        """Called before partitions move: returns when they may."""
        self._may_move.wait()

    def take(self, most: int | None = None) -> list[Message]:
        """What was fetched, `most` of it at most; ends the thread. Raises what fetching raised."""
        self.end()
        error, self._error = self._error, None
        if error is not None:
            raise error
        count = len(self._found) if most is None else most
        found, self._found = self._found[:count], self._found[count:]
        return found

    def drop(self, since: Mapping[Partition, int]) -> None:
        """Forgets what was fetched of partitions from an offset on: they are another member's now, or read again."""
        self.end()
        self._found = [
            one for one in self._found
            if (first := since.get(partition_of(one))) is None or (one.offset() or 0) < first  # an error may have none
        ]  # fmt: skip

    def _fetch(self, most: int, on_full: Callable[[Sequence[Message]], None]) -> None:
        size = 0
        try:
            while len(self._found) < most and size < _MOST_BYTES and not self._may_move.is_set():
                messages = self._consume(most - len(self._found), _SLICE)
                self._found += messages
                size += sum(map(len, messages))
            if len(self._found) >= most and not self._may_move.is_set():
                on_full(self._found)
        except BaseException as error:  # noqa: BLE001 - raised where what was fetched is asked for
            self._error = error
