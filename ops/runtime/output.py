"""What supervised processes print: one stream, each line saying whose it is."""

from __future__ import annotations

import json
import logging
import os
import select
import stat
import time
import zlib
from typing import TextIO

_log = logging.getLogger(__name__)
_COLOURS = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)
_MOST_WAITING = 1 << 20
"""Bytes kept for a stream that takes none for now; lines beyond are dropped."""
_FINISH_WITHIN = 1.0


class Output:
    """Writes whole lines to one stream: prefixed on a terminal, JSON elsewhere. Never waits for the stream.

    Where the stream takes none (a full disk, a pipe whose reader has ended or stopped, a terminal after Ctrl-S) lines
    are dropped, counted and reported: a log must not stop what it tells of.
    """

    def __init__(self, stream: TextIO, names: list[str]) -> None:
        self._stream = stream
        self._descriptor, self._may_block = _never_blocking(stream)
        self.is_terminal = stream.isatty()
        self._width = max((len(name) for name in names), default=0)
        self._rest: dict[int, bytes] = {}
        self._waiting = b""
        self._is_cut = False
        self._dropped = 0

    @property
    def has_waiting(self) -> bool:
        """Whether there are lines that the stream hasn't taken yet."""
        return bool(self._waiting)

    def copy(self, descriptor: int, name: str) -> bool:
        """Takes what a process has printed; False if there is nothing, as when it has closed its output."""
        try:
            data = os.read(descriptor, 1 << 16)
        except BlockingIOError:
            data = b""
        *lines, rest = (self._rest.pop(descriptor, b"") + data).split(b"\n")
        if not data and rest:
            lines.append(rest)
        elif rest:
            self._rest[descriptor] = rest
        self._write(name, [line.decode("utf-8", "replace") for line in lines])
        return bool(data)

    def say(self, name: str, words: str) -> None:
        """A line of the supervisor's own about a process."""
        self._write(name, [self._own(name, words)])

    def _own(self, name: str, words: str) -> str:
        return words if self.is_terminal else json.dumps({"process": name, "level": "info", "event": words})

    def flush(self) -> None:
        """Writes what waits, as much as the stream takes now."""
        count = b""
        if self._dropped:
            words = self._shown("up", self._own("up", f"{self._dropped} lines could not be written")).encode()
            count = b"\n" + words if self._is_cut and not self._waiting else words
        data = self._waiting + count
        try:
            written = self._put(data) if data else 0
        except OSError as error:
            if not self._dropped:
                _log.error("the output can't be written: %s; all go on, lines are dropped until it can", error.strerror)
            self._dropped += self._waiting.count(b"\n")
            self._waiting = b""
            return
        if written:
            self._is_cut = data[written - 1 : written] != b"\n"
        if written > len(self._waiting):
            self._waiting, self._dropped = data[written:], 0
        else:
            self._waiting = self._waiting[written:]

    def finish(self) -> None:
        """Writes what waits, for at most a second, and ends."""
        deadline = time.monotonic() + _FINISH_WITHIN
        self.flush()
        while self._waiting and self._descriptor is not None and (left := deadline - time.monotonic()) > 0:
            select.select([], [self._descriptor], [], left)
            self.flush()

    def _write(self, name: str, lines: list[str]) -> None:
        if not lines:
            return
        self.flush()
        if self._dropped or len(self._waiting) > _MOST_WAITING:
            self._dropped += len(lines)
            return
        self._waiting += "".join(self._shown(name, line) for line in lines).encode("utf-8", "replace")
        self.flush()

    def _put(self, data: bytes) -> int:
        """How many bytes the stream has taken; OSError where it takes none and says why."""
        if self._descriptor is None:
            self._stream.write(data.decode())
            self._stream.flush()
            return len(data)
        written = 0
        while written < len(data):
            if self._may_block and not select.select([], [self._descriptor], [], 0)[1]:
                break
            try:  # a pipe that is ready takes as much as this at once
                written += os.write(self._descriptor, data[written : written + select.PIPE_BUF])
            except BlockingIOError:
                break
            except OSError:
                if not written:
                    raise
                break
        return written

    def _shown(self, name: str, line: str) -> str:
        if self.is_terminal:
            colour = _COLOURS[zlib.crc32(name.encode()) % len(_COLOURS)]
            return f"\x1b[{colour}m{name:<{self._width}} |\x1b[0m {line}\n"
        return f"{line}\n" if line.startswith("{") else json.dumps({"process": name, "event": line}) + "\n"


def _never_blocking(stream: TextIO) -> tuple[int | None, bool]:
    """The stream's file descriptor, None without one; and whether it may block, so that it has to be asked first.

    A terminal or pipe is opened once more: made non-blocking itself, it would be so for all who share it.
    """
    try:
        descriptor = stream.fileno()
    except OSError:
        return None, False
    stream.flush()
    kind = os.fstat(descriptor).st_mode
    if stat.S_ISREG(kind):
        return descriptor, False
    if stat.S_ISSOCK(kind):
        return descriptor, True
    try:
        return os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC), False
    except OSError:  # not Linux, or another user's
        return descriptor, True
