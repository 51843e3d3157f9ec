"""A tap as a process: its lines, bounded; what it said last on its error output; its end.

Nothing is read ahead: a tap that is faster than Kafka waits at its full pipe. It leads a process group, which is killed
whole.
"""

from __future__ import annotations

import ctypes
import os
import selectors
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import IO

from sorbus.errors import TransientError
from sorbus.producers.singer.messages import OverlongLine

LONGEST_LINE = 32 << 20
_CHUNK = 1 << 18
_HEAD = 4096
_LAST_LINES, _LONGEST_SAID = 12, 400
_LONGEST_HEARD = 1 << 16
"""Of a line of its error output, before secrets are masked: only then it is cut."""
_PATIENCE = 5.0
_AFTER_CLOSING = 30.0
KEPT = (
    "PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
)  # fmt: skip
"""Of our environment, which may hold other systems' secrets, a tap gets only these."""


class TapProcess:
    """One run. Raises TransientError where it can't be started. `masked`: a text without secrets."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        masked: Callable[[str], str] = str,
    ) -> None:
        self._masked = masked
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        try:
            self._process = subprocess.Popen(
                command,
                env={**kept, "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1", **environment},
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )
        except OSError as error:
            raise TransientError(f"the tap {command[0]} can't be started: {error.strerror}") from error
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._out, self._err = self._process.stdout, self._process.stderr
        self._selector = selectors.DefaultSelector()
        for pipe in (self._out, self._err):
            os.set_blocking(pipe.fileno(), False)
            self._selector.register(pipe, selectors.EVENT_READ)
        self._parts: list[bytes] = []
        self._size, self._digest = 0, blake2b(digest_size=8)
        self._said: deque[str] = deque(maxlen=_LAST_LINES)
        self._said_part = b""
        self._is_open = True
        self._closed_at = self._ended_at = 0.0
        self.heard_at = time.monotonic()
        """When its output last said something."""
        self.exit_code: int | None = None
        """Once it has ended and all of its lines were read; negative: the signal that ended it."""
        self.fault: str | None = None
        """Why its run doesn't count, where its exit code doesn't say it."""

    @property
    def pid(self) -> int:
        """Of the process, and of its group."""
        return self._process.pid

    @property
    def last_words(self) -> str:
        """The last lines of its error output, without secrets."""
        return "\n".join([*self._said, *([self._shown(self._said_part)] if self._said_part.strip() else [])])

    def read(self, wait: float) -> list[bytes | OverlongLine]:
        """The lines that came within `wait` seconds, at once when some are there."""
        until = time.monotonic() + wait
        while True:
            for key, _ in self._selector.select(max(0.0, min(until - time.monotonic(), 0.5))):
                if key.fileobj is self._err:
                    self._hear()
                elif found := self._take():
                    return found
            if not self._is_open or self._process.poll() is not None:
                found = self._end()
                if found or self.exit_code is not None:
                    return found
            if time.monotonic() >= until:
                return []

    def stop(self) -> None:
        """Ends the whole group: asks, then kills. Safe to call again."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.pid, number)
            except (ProcessLookupError, PermissionError):
                break
            if number == signal.SIGTERM:
                try:
                    self._process.wait(_PATIENCE)
                except subprocess.TimeoutExpired:
                    continue
        self._process.wait()
        self._selector.close()
        self._out.close()
        self._err.close()

    def _take(self) -> list[bytes | OverlongLine] | None:
        """The lines that are complete now; None where nothing has come."""
        data = _read(self._out)
        if data is None:
            return None
        if not data:
            self._is_open, self._closed_at = False, time.monotonic()
            self._selector.unregister(self._out)
            return []
        self.heard_at = time.monotonic()
        head, *more = data.split(b"\n")
        self._append(head)
        found: list[bytes | OverlongLine] = []
        for part in more:
            found.append(self._line())
            self._append(part)
        return [line for line in found if line]

    def _append(self, part: bytes) -> None:
        self._size += len(part)
        self._digest.update(part)
        if self._size <= LONGEST_LINE:
            self._parts.append(part)
        elif len(self._parts) != 1 or len(self._parts[0]) > _HEAD:
            self._parts = [b"".join(self._parts)[:_HEAD]]

    def _line(self) -> bytes | OverlongLine:
        data, size, digest = b"".join(self._parts), self._size, self._digest
        self._parts, self._size, self._digest = [], 0, blake2b(digest_size=8)
        return OverlongLine(data[:_HEAD], size, digest.hexdigest()) if size > LONGEST_LINE else data

    def _hear(self) -> None:
        data = _read(self._err)
        if data is None:
            return
        if not data:
            self._selector.unregister(self._err)
            return
        *lines, self._said_part = (self._said_part + data).split(b"\n")
        self._said_part = self._said_part[:_LONGEST_HEARD]
        self._said.extend(self._shown(line) for line in lines[-_LAST_LINES:] if line.strip())

    def _shown(self, line: bytes) -> str:
        return self._masked(line[:_LONGEST_HEARD].decode("utf-8", "replace"))[:_LONGEST_SAID].rstrip()

    def _end(self) -> list[bytes | OverlongLine]:
        """What is left in the pipes of a tap that has ended, or has closed its output."""
        code = self._process.poll()
        if code is None:
            if time.monotonic() - self._closed_at < _AFTER_CLOSING:
                time.sleep(0.01)
                return []
            os.killpg(self.pid, signal.SIGKILL)
            code = self._process.wait()
            self.fault = (
                f"closed its output, was still running {_AFTER_CLOSING:.0f} s later and was ended: something keeps it,"
                " such as a thread or a connection of its own"
            )
        self._ended_at = self._ended_at or time.monotonic()
        while self._is_open:
            found = self._take()
            if found:
                return found
            if found is None:  # a process that it left behind holds the pipe open
                if code == 0 and time.monotonic() - max(self._ended_at, self.heard_at) < _AFTER_CLOSING:
                    return []
                if code == 0:
                    self.fault = (
                        "ended while another process still held its output open, so that lines may be missing: a"
                        " script that starts the tap has to wait for it (`exec tap-x ...`)"
                    )
                break
        if not self._err.closed and self._err in {key.fileobj for key in self._selector.get_map().values()}:
            self._hear()
        self.exit_code = code
        last = self._line()
        return [last] if last else []


def _read(pipe: IO[bytes]) -> bytes | None:
    """What is there; nothing at its end, None for now."""
    try:
        return os.read(pipe.fileno(), _CHUNK)
    except BlockingIOError:
        return None


_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1


def _end_with_parent() -> None:
    """The kernel kills the tap when we are killed, so that none is left behind that hangs."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
