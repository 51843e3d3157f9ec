"""One server process of the stack: started, awaited, stopped, and cleared away if a former run left it behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from sorbus.ops.embedded import parent_watchdog
from sorbus.ops.embedded.errors import StackError
from sorbus.ops.embedded.ports import is_free, listens

_POLL = 0.03


class ServerProcess:
    """A server with its guard (see parent_watchdog.py), its log and its record in `folder`."""

    def __init__(self, name: str, folder: Path, *, stop: signal.Signals, death: signal.Signals, slack: int = 0) -> None:
        self.name = name
        self.folder = folder
        self.log = folder / f"{name}.log"
        self.record = folder / f"{name}.pids"
        self._stop, self._death, self._slack = stop, death, slack
        self._grace = 0.0
        self._guard: subprocess.Popen[bytes] | None = None

    def start(self, command: Sequence[str], *, grace: float = 15.0) -> None:
        """Start the server under a guard; returns at once (`wait_until` tells when it answers).

        `grace` is how many seconds it has to stop in order before it is killed.
        """
        self._grace = grace
        if self._guard is None:
            self.log.write_bytes(b"")  # of an earlier run; what ended in this one is still to be read
        self._wait_until_gone()
        spec = {
            "command": [str(part) for part in command],
            "folder": str(self.folder),
            "log": str(self.log),
            "record": str(self.record),
            "stop": int(self._stop),
            "death": int(self._death),
            "grace": grace,
            "slack": self._slack,
        }
        with self.log.open("ab") as log:
            self._guard = subprocess.Popen(
                [sys.executable, "-I", "-S", parent_watchdog.__file__, json.dumps(spec)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                # A session of its own: Ctrl-C in the terminal must reach the stack alone, which then stops in order.
                start_new_session=True,
            )

    def _wait_until_gone(self, patience: float = 10.0) -> None:
        """A server whose guard was killed is on its way out; its port and data are free only after that."""
        end = time.monotonic() + patience
        while any(_is_ours(*entry) for entry in _recorded(self.record)) and time.monotonic() < end:
            time.sleep(_POLL)

    def wait_until(self, is_ready: Callable[[], bool], *, deadline: float, event: str, port: int | None = None) -> None:
        """Poll until `is_ready`; StackError with the log's last lines if the server ends or `deadline` seconds pass.

        With `port`, no answer counts before this server itself listens there: until it finds the port taken and ends,
        another's server would answer for it.
        """
        assert self._guard is not None
        end = time.monotonic() + deadline
        while not ((port is None or self._listens(port)) and is_ready()):
            if (code := self._guard.poll()) is not None:
                taken = "" if port is None or is_free(port) else f": another program listens on port {port}"
                raise StackError(f"{self.name} ended (status {code}) before {event}{taken}.\n{self.last_lines()}")
            if time.monotonic() > end:
                raise StackError(f"{self.name}: still waiting for {event} after {deadline:.0f} s.\n{self.last_lines()}")
            time.sleep(_POLL)

    def _listens(self, port: int) -> bool:
        return listens([pid for pid, _ in _recorded(self.record)], port)

    def is_running(self) -> bool:
        """Whether the server was started here and has not ended."""
        return self._guard is not None and self._guard.poll() is None

    def stop(self) -> None:
        """Shut the server down in order, or kill it after a limit; nothing is left when this returns."""
        if self._guard is None:
            return
        assert self._guard.stdin is not None
        with contextlib.suppress(OSError):
            self._guard.stdin.close()
        try:
            self._guard.wait(self._grace + 5)
        except subprocess.TimeoutExpired:
            self._guard.kill()
            self._guard.wait()
        self._guard = None

    def last_lines(self, count: int = 15) -> str:
        """The end of the log, indented, headed by its path."""
        try:
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            lines = []
        return "\n".join([f"The last lines of {self.log}:", *(f"    {line[:300]}" for line in lines[-count:])])


def clear_stale(folder: Path, *, patience: float = 5.0) -> list[int]:
    """End what a former run left in `folder`, going only by pids it recorded whose start time still matches.

    A guard whose stack has died is already shutting its server down, so it gets `patience` seconds first. Returns the
    pids that had to be killed.
    """
    left = [entry for record in folder.glob("*.pids") for entry in _recorded(record)]
    end = time.monotonic() + patience
    while any(_is_ours(*entry) for entry in left) and time.monotonic() < end:
        time.sleep(_POLL)
    killed = []
    for pid, started_at in left:
        if _is_ours(pid, started_at):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            killed.append(pid)
    while any(_is_ours(*entry) for entry in left):
        time.sleep(_POLL)
    for record in folder.glob("*.pids"):
        record.unlink(missing_ok=True)
    return killed


def is_alive(folder: Path, name: str) -> bool:
    """Whether the server `name` that runs in `folder`, started by whichever process, is alive."""
    entries = _recorded(folder / f"{name}.pids")
    return bool(entries) and all(_is_ours(*entry) for entry in entries)


def _recorded(record: Path) -> list[tuple[int, str]]:
    try:
        entries = json.loads(record.read_text(encoding="utf-8"))
        return [(int(entry["pid"]), str(entry["started_at"])) for entry in entries]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _is_ours(pid: int, started_at: str) -> bool:
    return parent_watchdog.started_at(pid) == started_at
