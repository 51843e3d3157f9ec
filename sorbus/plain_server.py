"""The standard library's web server with limits: how many at once, and how long each may take, however it drips.

Its own time-out is for each read, so that a peer which sends a byte now and then holds a thread for ever.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import BaseRequestHandler, TCPServer
from typing import cast

_MOST = 64
_LONGEST = 10.0


class PlainServer(ThreadingHTTPServer):
    """Serves while `serve_forever` runs; `longest` is in seconds, from the connection to its answer's last byte."""

    daemon_threads = True
    request_queue_size = _MOST

    def __init__(
        self, address: tuple[str, int], handler: type[BaseRequestHandler], *, longest: float = _LONGEST
    ) -> None:
        self._longest = longest
        self._since: dict[socket.socket, float] = {}
        self._changing = threading.Lock()
        super().__init__(address, handler)

    def server_bind(self) -> None:
        """Binds without asking DNS for our own name, which http.server would do and nobody reads."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def verify_request(self, request: socket.socket | tuple[bytes, socket.socket], _address: object) -> bool:
        """Turns away whom there is no room for."""
        with self._changing:
            if len(self._since) >= _MOST:
                return False
            self._since[cast("socket.socket", request)] = time.monotonic()
        return True

    def service_actions(self) -> None:
        """Ends what takes too long; called twice a second."""
        late = time.monotonic() - self._longest
        with self._changing:
            for one, since in self._since.items():
                if since < late:
                    with contextlib.suppress(OSError):
                        one.shutdown(socket.SHUT_RDWR)

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        """Also forgets the connection."""
        with self._changing:
            self._since.pop(cast("socket.socket", request), None)
        super().shutdown_request(request)

    def handle_error(self, _request: object, _address: object) -> None:
        """Says nothing of peers that leave in the middle, or are ended."""


class PlainHandler(BaseHTTPRequestHandler):
    """One request a connection; says nothing of it."""

    timeout = 5

    def log_message(self, format: str, *args: object) -> None:
        """Probes come every few seconds, and an address may hold a secret: no line for either."""
