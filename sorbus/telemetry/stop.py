"""How a process hears that it should stop: SIGTERM or Ctrl-C, once gently, twice at once."""

from __future__ import annotations

import os
import select
import signal
from types import FrameType


class Stop:
    """An event that signals set and loops wait on.

    A pipe, not a `threading.Event`: a signal handler runs in the main thread between two instructions, and setting an
    event whose lock that same thread just holds would never return. The pipe is never read, so every waiter sees it.
    """

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        self._is_set = False

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
        if not self._is_set:
            poll = select.poll()
            poll.register(self._read, select.POLLIN)
            poll.poll(None if seconds is None else max(0.0, seconds * 1000))
        return self._is_set

    def fileno(self) -> int:
        """Readable once asked to stop: to wait for it together with sockets."""
        return self._read

    def _heard(self, number: int, _frame: FrameType | None) -> None:
        if self._is_set:
            os._exit(128 + number)
        self.set()

    def __del__(self) -> None:
        for descriptor in (self._read, self._write):
            os.close(descriptor)
