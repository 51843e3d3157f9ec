"""uvicorn as our services need it: stopped by our own signals, and patient with nobody's headers."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from sorbus.errors import TransientError
from sorbus.telemetry.stop import Stop

_HEADERS_WITHIN = 10.0
_MOST_CONNECTIONS = 1000


class _Protocol(H11Protocol):
    """Closes connections whose next request's headers aren't there in time; uvicorn itself would wait for ever."""

    headers_within = _HEADERS_WITHIN
    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
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


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves signals to Stop, as in every other process of ours."""
        yield


def listen(host: str, port: int, doing: str) -> socket.socket:
    """The socket to serve on, 0 taking a free port; TransientError if it is taken. `doing` is what it is for."""
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
    """Serves until stopped, and then finishes what is under way, ten seconds at most. `beat` is called every second.

    With `believe_proxies` an X-Forwarded-For of FORWARDED_ALLOW_IPS stands for the other end's address. `ending`
    is called in the event loop once asked to stop: answers that last (server-sent events) should end then.
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
