"""HTTP clients for several threads: each has one connection, and one thread at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.cookiejar import CookieJar

import httpx


class ClientPool:
    """At most `size` clients. httpx's own pool may close a connection on which another thread has just begun a request.

    (httpcore 1.0.9, https://github.com/encode/httpcore/issues/1110.)
    """

    def __init__(self, make: Callable[[CookieJar], httpx.Client], size: int, patience: float | None = None) -> None:
        """`make` makes a client whose cookies are in the given jar. `patience`: seconds to wait for a free client."""
        self._cookies, self._make, self._patience = CookieJar(), make, patience
        self._free = threading.Semaphore(size)
        self._lock = threading.Lock()
        self._idle: list[httpx.Client] = [self._made()]
        self._all = list(self._idle)
        self.build_request = self._idle[0].build_request
        """As httpx's clients do."""

    @contextmanager
    def client(self) -> Iterator[httpx.Client]:
        """A client for this thread alone; httpx.PoolTimeout where none becomes free."""
        if not self._free.acquire(timeout=self._patience):
            raise httpx.PoolTimeout(f"no connection became free within {self._patience:.0f} s")
        try:
            with self._lock:
                client = self._idle.pop() if self._idle else None
            if client is None:
                client = self._made()
                with self._lock:
                    self._all.append(client)
            try:
                yield client
            finally:
                with self._lock:
                    self._idle.append(client)
        finally:
            self._free.release()

    def close(self) -> None:
        """Ends all connections, those in use too."""
        with self._lock:
            clients = list(self._all)
        for client in clients:
            client.close()

    def _made(self) -> httpx.Client:
        return self._make(self._cookies)
