"""uvicorn as our services need it: stopped by our own signals, and with a time limit on request headers."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import cast

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from sorbus.errors import TransientError
from sorbus.telemetry.stop import Stop

_HEADERS_WITHIN = 10.0
_MOST_CONNECTIONS = 1000
_LINGER, _LINGER_BYTES = 5.0, 16_000_000
"""How long, in seconds, and how many bytes of a rejected request are read before its connection is closed."""


class _Protocol(H11Protocol):
    """Closes connections whose next request's headers don't arrive in time; uvicorn itself would wait indefinitely."""

    headers_within = _HEADERS_WITHIN
    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(cast("asyncio.Transport", _PoliteTransport(transport, self)))
        self._expect_headers()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_waiting()

    def on_response_complete(self) -> None:
        self._expect_headers()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _expect_headers(self) -> None:
        self._stop_waiting()
        self._late = self.loop.call_later(self.headers_within, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


class _PoliteTransport:
    """A transport that, closed while the peer still sends, first ends our side and keeps reading for a while.

    A socket closed with unread bytes sends a reset, on which the peer may drop the answer before reading it.
    """

    def __init__(self, transport: asyncio.Transport, protocol: _Protocol) -> None:
        self._transport, self._protocol = transport, protocol
        self._is_closing = False

    def __getattr__(self, name: str) -> object:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        return self._is_closing or self._transport.is_closing()

    def close(self) -> None:
        """The second call closes at once."""
        still_sends = self._protocol.conn.their_state in (h11.SEND_BODY, h11.ERROR)
        if self.is_closing() or not still_sends or not self._transport.can_write_eof():
            self._transport.close()
            return
        self._is_closing = True
        try:
            self._transport.write_eof()
        except OSError:  # the peer has disconnected
            self._transport.close()
            return
        self._transport.set_protocol(_Rest(self._transport, self._protocol))
        self._transport.resume_reading()


class _Rest(asyncio.Protocol):
    """What arrives after the answer: discarded, until the peer closes or sends too much or for too long."""

    def __init__(self, transport: asyncio.Transport, protocol: _Protocol) -> None:
        self._transport, self._protocol, self._left = transport, protocol, _LINGER_BYTES
        self._end = protocol.loop.call_later(_LINGER, transport.close)

    def data_received(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left < 0:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end.cancel()
        self._protocol.connection_lost(exc)


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves signals to Stop, as in all our processes."""
        yield


def listen(host: str, port: int, doing: str) -> socket.socket:
    """The socket to serve on, 0 for a free port; TransientError if it is taken. `doing` says what it is for."""
    # Named TCP, or asyncio leaves Nagle's delay on.
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, proto=socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise TransientError(f"can't {doing} on {host}:{port}: {error.strerror}; choose another --port") from error
    return listener


def serve(
    app: ASGIApp,
    listener: socket.socket,
    stop: Stop,
    beat: Callable[[], None],
    *,
    headers_within: float | None = None,
    ending: Callable[[], None] = lambda: None,
    believe_proxies: bool = True,
) -> None:
    """Serves until stopped, then finishes running requests, ten seconds at most. `beat` is called every second.

    With `believe_proxies`, X-Forwarded-For from FORWARDED_ALLOW_IPS replaces the peer's address. `ending` is called
    in the event loop on a stop: long-lived responses (server-sent events) should end then.
    """

    async def beats() -> None:
        beat()

    class Protocol(_Protocol):
        pass

    if headers_within is not None:
        Protocol.headers_within = headers_within
    config = uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=believe_proxies,
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_graceful_shutdown=10,
        callback_notify=beats,
        timeout_notify=1,
    )
    server = _Server(config)

    def end() -> None:
        asyncio.get_running_loop().remove_reader(stop.fileno())  # it stays readable
        server.should_exit = True
        ending()

    async def run() -> None:
        asyncio.get_running_loop().add_reader(stop.fileno(), end)
        await server.serve(sockets=[listener])

    asyncio.run(run())
