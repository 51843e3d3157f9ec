"""A socket whose answers are bounded in time and size: ldap3 bounds neither."""

from __future__ import annotations

import time
from typing import Any

MOST_BYTES = 256 * 1024 * 1024
"""Most bytes of one answer: a page of entries with photographs fits."""
_FIRST = 60.0


class BoundedSocket:
    """Wraps another one. An answer has to be there `begin`'s seconds later, however slowly it comes."""

    def __init__(self, inner: Any) -> None:
        self._inner, self._until, self._left = inner, time.monotonic() + _FIRST, MOST_BYTES

    def begin(self, seconds: float) -> None:
        """A request begins."""
        self._until, self._left = time.monotonic() + seconds, MOST_BYTES

    def recv(self, size: int) -> bytes:
        self._wait()
        data: bytes = self._inner.recv(size)
        self._left -= len(data)
        if self._left < 0:
            raise OSError(f"the answer has more than {MOST_BYTES:,} bytes; write a smaller page_size:")
        return data

    def sendall(self, data: bytes) -> None:
        self._wait()
        self._inner.sendall(data)

    def _wait(self) -> None:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("no whole answer in time (timeout:)")
        self._inner.settimeout(left)

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)
