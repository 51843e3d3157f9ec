"""Starts a server of the stack again when it has ended by itself, on the port and with the data that it had."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Protocol

from sorbus.ops.embedded.errors import StackError

MOST, WITHIN = 5, 600.0
"""A server that ends more than MOST times within WITHIN seconds is not started again."""


class KeptServer(Protocol):
    """What a server of the stack has in common with the others."""

    def start(self) -> None:
        """Start it; `wait` tells when it answers."""

    def wait(self) -> None:
        """Return when it answers; StackError if it ends before, or doesn't in time."""

    def is_running(self) -> bool:
        """Whether it was started and has not ended."""


class Keeper:
    """Looks after servers; `clock` gives seconds."""

    def __init__(self, servers: Mapping[str, KeptServer], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._servers = servers
        self._clock = clock
        self._ends: dict[str, deque[float]] = {name: deque() for name in servers}

    def restart_ended(self, say: Callable[[str], None]) -> None:
        """Starts again what has ended, one after the other, and returns when it answers; `say` hears of it.

        StackError if a server has ended too often, or does not answer in time; one that ends while it starts is tried
        again by the next call.
        """
        for name, server in self._servers.items():
            if server.is_running():
                continue
            self._note_end(name)
            say(f"{name} exited unexpectedly and is restarted on its port")
            server.start()
            try:
                server.wait()
            except StackError:
                if server.is_running():
                    raise
                continue
            say(f"{name} answers again")

    def _note_end(self, name: str) -> None:
        ends, now = self._ends[name], self._clock()
        ends.append(now)
        while now - ends[0] > WITHIN:
            ends.popleft()
        if len(ends) > MOST:
            raise StackError(f"{name} has ended {len(ends)} times within {WITHIN / 60:.0f} minutes; see its log.")
