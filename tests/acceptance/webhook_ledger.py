"""A receiver as a process: verifies, writes each post to a file that survives a kill, and answers 204 after that.

Run as a program: FILE PORT KEY-OR-EMPTY. Without a key it takes what n8n passes on, which has verified it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import httpx


class Entry(NamedTuple):
    """One post: its webhook-id and its body."""

    id: str
    body: dict[str, Any]


class Ledger:
    """The process, which can be killed and started again on the same port, and what it has written."""

    def __init__(self, file: Path, port: int, key: bytes = b"") -> None:
        self.file, self.port, self._key = file, port, key
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        words = [sys.executable, __file__, str(self.file), str(self.port), base64.b64encode(self._key).decode()]
        self._process = subprocess.Popen(words, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while True:
            try:
                httpx.get(f"http://127.0.0.1:{self.port}/", timeout=5)
                return
            except httpx.TransportError:
                assert time.monotonic() < deadline, "the receiver didn't start within 20 s"
                time.sleep(0.05)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait(20)

    def entries(self) -> list[Entry]:
        """All that was written whole, in order."""
        lines = self.file.read_bytes().split(b"\n") if self.file.exists() else []
        found = []
        for line in lines:
            try:
                found.append(Entry(**json.loads(line)))
            except ValueError:  # a kill in the middle of a line: its sender got no answer
                continue
        return found

    def state(self) -> dict[str, dict[str, Any]]:
        """What a receiver has that drops repeated ids; fails where repeats differ, or a record's order isn't kept."""
        seen: dict[str, dict[str, Any]] = {}
        versions: dict[str, int] = {}
        found: dict[str, dict[str, Any]] = {}
        for id, body in self.entries():
            if id in seen:
                was = {**seen[id], "historical": None}
                assert was == {**body, "historical": None}, f"{id} came with two contents"
                continue
            seen[id] = body
            assert body["version"] > versions.get(body["id"], 0), f"{body['id']}: {id} is older than what came before"
            versions[body["id"]] = body["version"]
            found.pop(body["id"], None)
            if not body["deleted"]:
                found[body["id"]] = body["data"]
        return found


def serve(file: str, port: str, key: str) -> None:
    secret = base64.b64decode(key)
    lock = threading.Lock()
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            self.answer(204)

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["content-length"]))
            id = self.headers.get("webhook-id") or self.headers.get("idempotency-key") or ""
            if secret:
                signed = f"{id}.{self.headers['webhook-timestamp']}.".encode() + raw
                wanted = "v1," + base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()
                if wanted not in self.headers["webhook-signature"].split(" "):
                    self.answer(401)
                    return
            with lock:
                os.write(descriptor, b"\n" + json.dumps({"id": id, "body": json.loads(raw)}).encode() + b"\n")
                os.fsync(descriptor)
            self.answer(204)

        def answer(self, status: int) -> None:
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

    Server(("127.0.0.1", int(port)), Handler).serve_forever()


if __name__ == "__main__":
    serve(*sys.argv[1:])
