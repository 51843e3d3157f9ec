"""The standard library's web server with limits on concurrent connections and on the duration of each.

Its own timeout is per read, so a peer that sends a byte now and then would hold a thread indefinitely.
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
    """Serves while `serve_forever` runs; `longest`: seconds from the connection to the last byte of its answer."""

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
        """Binds without http.server's reverse DNS lookup of our own name, which nothing uses."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def verify_request(self, request: socket.socket | tuple[bytes, socket.socket], _address: object) -> bool:
        """Refuses connections above the limit."""
        with self._changing:
            if len(self._since) >= _MOST:
                return False
            self._since[cast("socket.socket", request)] = time.monotonic()
        return True

    def service_actions(self) -> None:
        """Closes connections that take too long; called twice a second."""
        late = time.monotonic() - self._longest
        with self._changing:
            for one, since in self._since.items():
                if since < late:
                    with contextlib.suppress(OSError):
                        one.shutdown(socket.SHUT_RDWR)

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        """Also removes the connection from the open ones."""
        with self._changing:
            self._since.pop(cast("socket.socket", request), None)
        super().shutdown_request(request)

    def handle_error(self, _request: object, _address: object) -> None:
        """Logs nothing about peers that disconnect early or are cut off."""


class PlainHandler(BaseHTTPRequestHandler):
    """Handles one request per connection; logs nothing."""

    timeout = 5

    def log_message(self, format: str, *args: object) -> None:
        """Logs nothing: probes come every few seconds, and a URL may hold a secret."""
