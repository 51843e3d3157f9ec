"""Stopping a process: SIGTERM or Ctrl-C stops gracefully, a second one at once.

A graceful stop may take long if it waits for something external: a lock in a database, a server that hangs. So code
that tolerates `kill -9` may have its wait interrupted, and ends within the usual ten seconds of a supervisor.

Python runs signal handlers in the main thread between two bytecodes, so never while that thread waits inside a library
such as librdkafka. A separate thread therefore receives the signals too, through a pipe that the interpreter's C
handler writes to, and ends the process when its time is up.
"""

from __future__ import annotations

import logging
import math
import os
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

_PATIENCE, _LONGEST = 2.5, 8.5
_ASKING = (signal.SIGTERM, signal.SIGINT)
_UNHEARD = 1.0
"""Seconds: a signal that arrives just before a poll begins, or in another thread, doesn't end the poll."""


_log = logging.getLogger(__name__)


class BrokenOff(KeyboardInterrupt):
    """Raised in the main thread, out of any wait, some seconds after a stop was requested."""


class Stop:
    """An event that signals set and loops wait on.

    A pipe, not a `threading.Event`: a signal handler runs in the main thread between two bytecodes, and setting an
    event whose lock that thread holds would never return. The pipe is never read, so every waiter sees it.
    """

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        self._is_set = self._is_heard = self._is_inside = False
        self._patience, self._longest = _PATIENCE, _LONGEST

    @classmethod
    def on_signals(cls) -> Stop:
        """A stop that SIGTERM and SIGINT set; call it in the main thread. A second signal ends the process at once."""
        stop = cls()
        for number in _ASKING:
            signal.signal(number, stop._heard)
        return stop

    def set(self) -> None:
        """Requests a stop."""
        if not self._is_set:
            self._is_set = True
            os.write(self._write, b".")

    def is_set(self) -> bool:
        return self._is_set

    def wait(self, seconds: float | None = None) -> bool:
        """Waits for a stop or `seconds`; returns whether a stop was requested."""
        poll = select.poll()
        poll.register(self._read, select.POLLIN)
        end = math.inf if seconds is None else time.monotonic() + seconds
        while not self._is_set:
            poll.poll(1000 * max(0.0, min(_UNHEARD, end - time.monotonic())))
            if time.monotonic() >= end:
                break
        return self._is_set

    def fileno(self) -> int:
        """Readable once a stop was requested: to wait for it together with sockets."""
        return self._read

    @contextmanager
    def breaking_off(self, patience: float = _PATIENCE, longest: float = _LONGEST) -> Iterator[None]:
        """Interrupts whatever its block still waits for `patience` seconds after a signal: the block just ends.

        For the main thread, and for blocks that tolerate `kill -9`. A process that still runs after `longest`, because
        another thread, a library or its own cleanup hangs, ends then, as on a second signal.
        """
        self._patience, self._longest = patience, longest
        signal.signal(signal.SIGALRM, self._remind)
        self._is_inside = True
        self._end_in_time()
        if self._is_set:
            self._set_alarm()
        try:
            yield
        except BrokenOff:
            return
        finally:
            self._is_inside = False
            signal.setitimer(signal.ITIMER_REAL, 0)  # a later SIGALRM would end the interpreter's own cleanup

    def _heard(self, number: int, _frame: FrameType | None) -> None:
        if self._is_heard:
            os._exit(128 + number)
        self._is_heard = True
        self.set()
        if self._is_inside:
            self._set_alarm()

    def _set_alarm(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, self._patience, self._patience)

    def _remind(self, _number: int, _frame: FrameType | None) -> None:
        if self._is_inside:
            raise BrokenOff

    def _end_in_time(self) -> None:
        """Starts a thread that receives the signals from now on, whatever blocks the main thread."""
        heard, told = os.pipe()
        os.set_blocking(told, False)
        signal.set_wakeup_fd(told, warn_on_full_buffer=False)
        threading.Thread(target=self._watch, args=(heard,), name="stop", daemon=True).start()

    def _watch(self, heard: int) -> None:
        poll = select.poll()
        poll.register(heard, select.POLLIN)
        while os.read(heard, 1)[0] not in _ASKING:
            pass
        self.set()
        end = time.monotonic() + self._longest
        while (left := end - time.monotonic()) > 0:
            if poll.poll(1000 * left) and os.read(heard, 1)[0] in _ASKING:
                os._exit(128 + signal.SIGTERM)
        # In a thread: the main one may be blocked by the very output that this is written to.
        teller = threading.Thread(target=_tell_what_holds, args=(self._longest,), daemon=True)
        teller.start()
        teller.join(0.5)
        os._exit(128 + signal.SIGTERM)

    def __del__(self) -> None:
        for descriptor in (self._read, self._write):
            os.close(descriptor)


def _tell_what_holds(seconds: float) -> None:
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    frames = traceback.extract_stack(frame)[-3:] if frame else []
    where = ", ".join(f"{Path(each.filename).name}:{each.lineno} in {each.name}" for each in reversed(frames))
    _log.error(
        "not stopped %s s after the request: ending as by kill -9; unfinished work will be repeated; held in %s",
        seconds,
        where,
    )
