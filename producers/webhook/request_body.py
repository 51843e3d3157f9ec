"""A request's body, bounded in bytes and in time, each alone and all together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

from starlette.requests import ClientDisconnect, Request

LARGEST_BODY = 1_000_000
BODIES = 32_000_000
"""Bytes of all bodies that are held at a time; a quarter of them is kept for the small ones."""
BODY_WITHIN = 10.0
"""Seconds for a whole body."""
_SMALL_BODY = 65_536


class EarlyAnswer(Exception):
    """How a delivery ends early: the answer's status, and the outcome that is counted."""

    def __init__(self, status: HTTPStatus, outcome: str, *, is_read: bool = True, words: bytes = b"") -> None:
        self.status, self.outcome, self.is_read, self.words = status, outcome, is_read, words
        super().__init__(outcome)


class _Budget:
    """Bytes of bodies that may still be held."""

    def __init__(self, total: int) -> None:
        self.left, self._for_small = total, total // 4

    def take(self, size: int, *, is_small: bool) -> bool:
        """Whether there is room: large bodies leave a quarter to small ones."""
        if self.left - size < (0 if is_small else self._for_small):
            return False
        self.left -= size
        return True


class _Body:
    """A body as it comes, counted against the budget until it is closed."""

    def __init__(self, budget: _Budget) -> None:
        self.held, self._budget = bytearray(), budget

    def add(self, chunk: bytes) -> bool:
        """False where there is no room for it."""
        is_small = len(self.held) + len(chunk) <= _SMALL_BODY
        if not self._budget.take(len(chunk), is_small=is_small):
            return False
        self.held += chunk
        return True

    def close(self) -> None:
        self._budget.left += len(self.held)
        self.held.clear()


class BodyReader:
    """Reads bodies, of which so many bytes are held at a time, each within so many seconds."""

    def __init__(self, bodies: int = BODIES, within: float = BODY_WITHIN) -> None:
        self._budget, self._within = _Budget(bodies), within

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytes]:
        """The body, which counts as held until the block ends. EarlyAnswer."""
        body = _Body(self._budget)
        try:
            yield await self._read(request, body)
        finally:
            body.close()

    async def _read(self, request: Request, body: _Body) -> bytes:
        declared = request.headers.get("content-length", "")
        if declared.isdigit() and (len(declared) > 12 or int(declared) > LARGEST_BODY):
            raise EarlyAnswer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too large", is_read=False)
        try:
            async with asyncio.timeout(self._within):
                async for chunk in request.stream():
                    if len(body.held) + len(chunk) > LARGEST_BODY:
                        raise EarlyAnswer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too large", is_read=False)
                    if not body.add(chunk):
                        raise EarlyAnswer(HTTPStatus.SERVICE_UNAVAILABLE, "busy", is_read=False)
        except TimeoutError as error:
            raise EarlyAnswer(HTTPStatus.REQUEST_TIMEOUT, "slow", is_read=False) from error
        except ClientDisconnect as error:
            raise EarlyAnswer(HTTPStatus.BAD_REQUEST, "broken off", is_read=False) from error
        return bytes(body.held)
