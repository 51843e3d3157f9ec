"""One supervised process: how it is started, how it ends, and when it may start again."""

from __future__ import annotations

import contextlib
import random
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from sorbus.backoff import Backoff
from sorbus.errors import ExitCode
from sorbus.ops.runtime.launch import Launch, Launched, spawn

HEALTHY_AFTER = 60.0
"""Seconds after which a process that has not ended counts as healthy, and its next restart is quick again."""

State = Literal["waiting", "starting", "running", "stopped", "given up"]

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
_POINTLESS = {
    ExitCode.WRONG_USE: "wrong use: starting it again would end the same way",
    ExitCode.REFUSED: "refused: a person must act first, as its last message says",
}


@dataclass(frozen=True, slots=True)
class ChildProgram:
    """What is to run: `name` such as "consume order-to-reporting", and its command line; {port} in it is filled in.

    `parts`: where one process runs several, the program of each for itself.
    """

    name: str
    command: tuple[str, ...]
    parts: tuple[ChildProgram, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """What runs in it."""
        return tuple(part.name for part in self.parts) or (self.name,)


class ChildProcess:
    """A program with its process, if one runs, and what is to become of it."""

    def __init__(
        self,
        program: ChildProgram,
        launch: Launch = spawn,
        *,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.program = program
        self.state: State = "waiting"
        self.port = 0
        self.restarts = 0
        self.verdict = ""
        self.is_split = False
        """Whether it ended in a way that a part may have caused: each part is to have a process of its own."""
        self._launch, self._clock = launch, clock
        self._backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE, jitter=jitter)
        self._process: Launched | None = None
        self._due = clock()
        self._began = 0.0

    @property
    def name(self) -> str:
        return self.program.name

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def is_due(self) -> bool:
        """Whether it should be started now."""
        return self.state == "waiting" and self._clock() >= self._due

    def uptime(self) -> float:
        """Seconds since it was started."""
        return self._clock() - self._began

    def start(self, port: int, env: Mapping[str, str]) -> int:
        """Starts the process; returns the file descriptor of its output (both streams in one)."""
        command = [word.replace("{port}", str(port)) for word in self.program.command]
        self._process = self._launch(command, env)
        self.port, self.state, self._began = port, "starting", self._clock()
        return self._process.output

    def answered(self) -> None:
        """Its health server answers: the next one may start."""
        if self.state == "starting":
            self.state = "running"

    def ended(self) -> int | None:
        """Takes note if the process has ended by itself; returns its exit code, negative for a signal."""
        if self._process is None or (code := self._process.poll()) is None:
            return None
        self._close()
        if self.program.parts and code not in (ExitCode.FINE, ExitCode.UNREACHABLE):
            self.is_split, self.state = True, "stopped"
            self.verdict = "each of its flows starts again in a process of its own"
            return code
        if reason := _POINTLESS.get(ExitCode(code) if code in list(ExitCode) else ExitCode.FINE):
            self.state, self.verdict = "given up", reason
            return code
        if self.uptime() >= HEALTHY_AFTER:
            self._backoff.reset()
        self.restarts += 1
        self._due = self._clock() + self._backoff.next()
        self.state = "waiting"
        return code

    def pause(self) -> float:
        """Seconds until it is started again."""
        return max(0.0, self._due - self._clock())

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal, unless it has ended."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def reap(self) -> int | None:
        """After a stop: the exit code, None if it never ran or is still alive."""
        if self._process is None or (code := self._process.poll()) is None:
            return None
        self._close()
        self.state = "stopped"
        return code

    def _close(self) -> None:
        if self._process is not None:
            self._process.close()
        self._process = None
