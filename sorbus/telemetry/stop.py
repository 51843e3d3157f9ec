"""How a process hears that it should stop: SIGTERM or Ctrl-C, once gently, twice at once.

Gently may take long where it waits for somebody else: a lock in a database, a server that has frozen. So what bears
`kill -9` may have its waiting broken off, and is gone before whoever runs it loses patience (ten seconds is usual).
"""

from __future__ import annotations

import math
import os
import select
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_PATIENCE = 2.5
_UNHEARD = 1.0
"""Seconds: a signal that comes just before a poll begins, or to another thread, doesn't end the poll."""


class BrokenOff(KeyboardInterrupt):
    """Raised in the main thread, out of whatever it waits for, some seconds after it was asked to stop."""


class Stop:
    """An event that signals set and loops wait on.

    A pipe, not a `threading.Event`: a signal handler runs in the main thread between two instructions, and setting an
    event whose lock that same thread just holds would never return. The pipe is never read, so every waiter sees it.
    """

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        self._is_set = self._breaks_off = self._is_inside = False
        self._late = 0

    @classmethod
    def on_signals(cls) -> Stop:
        """A stop that SIGTERM and SIGINT set; call it in the main thread. A second signal ends the process at once."""
        stop = cls()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop._heard)
        return stop

    def set(self) -> None:
        """Asks to stop."""
        if not self._is_set:
            self._is_set = True
            os.write(self._write, b".")

    def is_set(self) -> bool:
        return self._is_set

    def wait(self, seconds: float | None = None) -> bool:
        """Waits until asked to stop or until `seconds` have passed; says whether it was asked."""
        poll = select.poll()
        poll.register(self._read, select.POLLIN)
        end = math.inf if seconds is None else time.monotonic() + seconds
        while not self._is_set:
            poll.poll(1000 * max(0.0, min(_UNHEARD, end - time.monotonic())))
            if time.monotonic() >= end:
                break
        return self._is_set

    def fileno(self) -> int:
        """Readable once asked to stop: to wait for it together with sockets."""
        return self._read

    @contextmanager
    def breaking_off(self) -> Iterator[None]:
        """Breaks off what its block still waits for 2.5 s and 5 s after a signal asked it to stop: the block just ends.

        For the main thread, and for blocks that bear `kill -9`. A process that is still there after 7.5 s, since
        another thread or its own tidying up is held, ends then, as on a second signal.
        """
        signal.signal(signal.SIGALRM, self._remind)
        self._breaks_off = self._is_inside = True
        if self._is_set:
            self._set_alarm()
        try:
            yield
        except BrokenOff:
            return
        finally:
            self._is_inside = False

    def _heard(self, number: int, _frame: FrameType | None) -> None:
        if self._is_set:
            os._exit(128 + number)
        self.set()
        if self._breaks_off:
            self._set_alarm()

    def _set_alarm(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, _PATIENCE, _PATIENCE)

    def _remind(self, _number: int, _frame: FrameType | None) -> None:
        self._late += 1
        if self._late > 2:
            os._exit(128 + signal.SIGTERM)
        if self._is_inside:
            raise BrokenOff

    def __del__(self) -> None:
        for descriptor in (self._read, self._write):
            os.close(descriptor)
