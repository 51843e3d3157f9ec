"""An endpoint as a customer would write it: verifies Standard Webhooks on its own, and keeps a ledger of what came."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any, NamedTuple

KEY = b"a key of the tests, 32 bytes lon"
SECRET = "whsec_" + base64.b64encode(KEY).decode()
OTHER = "whsec_" + base64.b64encode(KEY[::-1]).decode()


class Received(NamedTuple):
    """One post that was verified; `answered` is the status it got."""

    id: str
    body: dict[str, Any]
    headers: dict[str, str]
    answered: int


class Reply(NamedTuple):
    status: int
    headers: Mapping[str, str] = MappingProxyType({})
    body: bytes = b""
    after: float = 0.0


def is_signed(headers: dict[str, str], raw: bytes, key: bytes = KEY) -> bool:
    """Whether one of the signatures is the key's, computed after the specification."""
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + raw
    wanted = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    is_recent = abs(time.time() - int(headers["webhook-timestamp"])) < 300
    return is_recent and wanted in headers["webhook-signature"].split(" ")


class Receiver:
    """`answer` decides on each verified post; `posts` holds all of them in the order in which they were answered."""

    def __init__(self) -> None:
        self.posts: list[Received] = []
        self.unsigned = 0
        self.answer: Callable[[dict[str, Any]], Reply] = lambda _: Reply(204)
        self.lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None
        self.port = 0
        self.start()

    def start(self) -> None:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                reply = receiver.take(headers, raw)
                time.sleep(reply.after)
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                if "content-length" not in {name.lower() for name in reply.headers}:
                    self.send_header("content-length", str(len(reply.body)))
                self.end_headers()
                self.wfile.write(reply.body)

            def log_message(self, *_: object) -> None: ...

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_: object) -> None: ...

        self._server = Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def take(self, headers: dict[str, str], raw: bytes) -> Reply:
        if not is_signed(headers, raw):
            with self.lock:
                self.unsigned += 1
            return Reply(401)
        body = json.loads(raw)
        reply = self.answer(body)
        with self.lock:
            self.posts.append(Received(headers["webhook-id"], body, headers, reply.status))
        return reply

    def accepted(self) -> list[Received]:
        with self.lock:
            return [one for one in self.posts if 200 <= one.answered < 300]

    def state(self) -> dict[str, dict[str, Any]]:
        """What a receiver has that keeps the newest of each record and drops repeated ids."""
        found: dict[str, dict[str, Any]] = {}
        seen = set[str]()
        for one in self.accepted():
            if one.id in seen:
                continue
            seen.add(one.id)
            if one.body["deleted"]:
                found.pop(one.body["id"], None)
            else:
                found[one.body["id"]] = one.body["data"]
        return found


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()
    try:
        yield receiver
    finally:
        receiver.stop()
