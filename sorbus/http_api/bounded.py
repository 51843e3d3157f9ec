"""Responses with two limits: bytes, compressed and decompressed, and time, from the DNS lookup to the last byte.

httpx's timeouts are per read, so a peer that drips bytes would hold a call indefinitely; it also decompresses a
whole chunk before its size can be checked. Here every read and write of a connection gets what is left of the call's
time, and responses are decompressed step by step.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from ssl import SSLContext
from time import monotonic
from typing import Any

import httpcore
import httpx

_limits = threading.local()
_AT_ONCE = 65_536
_TOO_LONG = "the answer takes too long"


class TooLarge(Exception):
    """The response is larger than allowed."""


class UnknownEncoding(Exception):
    """The response has a content encoding that wasn't requested, or more than one."""


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Limits this thread's requests in the block to so many seconds in total; then raises httpx.TimeoutException.

    A block within another, such as a login within a call, ends no later than that.
    """
    before: float | None = getattr(_limits, "until", None)
    _limits.until = monotonic() + seconds if before is None else min(before, monotonic() + seconds)
    try:
        yield
    finally:
        _limits.until = before


def read(client: httpx.Client, request: httpx.Request, *, largest: int) -> tuple[httpx.Response, bytes]:
    """The response and its decompressed content. TooLarge, UnknownEncoding; httpx's errors, including `within`'s."""
    if request.headers.get("Accept-Encoding") != "identity":
        request.headers["Accept-Encoding"] = "gzip"
    with head(client, request) as response:
        return response, _content(response, largest)


@contextmanager
def head(client: httpx.Client, request: httpx.Request) -> Iterator[httpx.Response]:
    """The answer before its content, which is left where the block doesn't read it. httpx's errors, as in `read`."""
    _bind(client)
    response = client.send(request, stream=True)
    try:
        yield response
    finally:
        response.close()


def _content(response: httpx.Response, largest: int) -> bytes:
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if encoding not in ("", "identity", "gzip", "x-gzip"):
        raise UnknownEncoding(encoding[:50])
    wire, size, pieces = 0, 0, list[bytes]()
    unpacker = zlib.decompressobj(31) if encoding not in ("", "identity") else None
    for chunk in response.iter_raw():
        if _is_over():
            raise httpx.ReadTimeout(_TOO_LONG, request=response.request)
        wire += len(chunk)
        if wire > largest:
            raise TooLarge
        if unpacker is None:
            pieces.append(chunk)
            continue
        try:
            piece = unpacker.decompress(chunk, largest - size + 1)
        except zlib.error as error:
            raise httpx.DecodingError(str(error), request=response.request) from error
        size += len(piece)
        if size > largest:
            raise TooLarge
        pieces.append(piece)
    if unpacker is not None and wire and not unpacker.eof:
        raise httpx.DecodingError("the gzip stream ends too early", request=response.request)
    return b"".join(pieces)


def _is_over() -> bool:
    until: float | None = getattr(_limits, "until", None)
    return until is not None and monotonic() >= until


def _left(timeout: float | None) -> float | None:
    """A step's timeout in seconds, at most what is left of the total. httpx.ReadTimeout if nothing is."""
    until: float | None = getattr(_limits, "until", None)
    if until is None:
        return timeout
    left = until - monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout(_TOO_LONG)
    return left if timeout is None else min(timeout, left)


def _bind(client: httpx.Client) -> None:
    """Makes a client's connections, including those through a proxy, respect `within`. Idempotent."""
    for transport in (client._transport, *client._mounts.values()):
        pool = getattr(transport, "_pool", None)
        if pool is not None and not isinstance(pool._network_backend, _Backend):
            pool._network_backend = _Backend(pool._network_backend)


class _Backend(httpcore.NetworkBackend):
    def __init__(self, inner: httpcore.NetworkBackend) -> None:
        self._inner = inner

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        return _Stream(self._inner.connect_tcp(host, port, _left(timeout), local_address, socket_options))

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._inner.connect_unix_socket(path, _left(timeout), socket_options))

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(seconds)


class _Stream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), _AT_ONCE):
            self._inner.write(buffer[start : start + _AT_ONCE], _left(timeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, _left(timeout)))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
