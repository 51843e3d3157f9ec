"""A process's own answer to "are you alive, are you ready?", with its metrics on the same port.

`/healthz/live` fails when the loop has not beaten for too long: a supervisor should restart the process.
`/healthz/ready` fails while the process can't do its work yet or just now, and says why: a person or a rollout waits.
`/healthz` is both in one; `/metrics` is Prometheus's text format.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from types import TracebackType
from typing import Self

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.exposition import choose_encoder

from sorbus.telemetry.metrics import UP


class Health:
    """What the loop says about itself; written by one thread, read by the server's.

    `stale_after` is in seconds: how long the loop may go without a beat before the process counts as stuck.
    """

    def __init__(self, *, stale_after: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._stale_after, self._clock = stale_after, clock
        self._beat = clock()
        self._not_ready: str | None = "starting"

    def beat(self) -> None:
        """The loop has come round once more."""
        self._beat = self._clock()

    def ready(self, reason: str | None = None) -> None:
        """Ready for work, or with a `reason` in plain words: not."""
        self._not_ready = reason
        self.beat()

    def stuck(self) -> str | None:
        """Why the process should be restarted, None if it is alive."""
        silent = self._clock() - self._beat
        if silent > self._stale_after:
            return f"the loop has not come round for {silent:.0f} s (allowed: {self._stale_after:.0f} s)"
        return None

    def waiting(self) -> str | None:
        """Why the process isn't ready, None if it is."""
        return self._not_ready


class HealthServer:
    """Serves /metrics and /healthz from a thread of its own, while its `with` block lasts."""

    def __init__(
        self,
        health: Health,
        *,
        process: str,
        port: int = 0,
        host: str = "127.0.0.1",
        registry: CollectorRegistry = REGISTRY,
    ) -> None:
        """Binds at once; port 0 takes a free one. OSError if the port is taken."""
        self._server = _Server((host, port), health, registry)
        self._thread = threading.Thread(target=self._server.serve_forever, name="health", daemon=True)
        self.port: int = self._server.server_address[1]
        self._up = UP.labels(process)

    def start(self) -> Self:
        self._up.set(1)
        self._thread.start()
        return self

    def stop(self) -> None:
        self._up.set(0)
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], health: Health, registry: CollectorRegistry) -> None:
        self.health, self.registry = health, registry
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """Binds without asking DNS for our own name, which http.server would do and nobody reads."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 10

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/metrics":
            encode, content_type = choose_encoder(self.headers.get("Accept") or "")
            self._answer(HTTPStatus.OK, encode(self.server.registry), content_type)
            return
        health = self.server.health
        questions = {
            "/healthz/live": (health.stuck,),
            "/healthz/ready": (health.waiting,),
            "/healthz": (health.stuck, health.waiting),
        }.get(path)
        if questions is None:
            self._answer(HTTPStatus.NOT_FOUND, b"try /metrics, /healthz, /healthz/live or /healthz/ready\n")
            return
        reasons = [reason for ask in questions if (reason := ask())]
        status = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
        self._answer(status, ("\n".join(reasons or ["ok"]) + "\n").encode())

    def _answer(self, status: HTTPStatus, body: bytes, content_type: str = "text/plain; charset=utf-8") -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Probes come every few seconds; they are not worth a line each."""
