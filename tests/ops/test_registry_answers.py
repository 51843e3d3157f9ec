"""What answers in a registry's place is no registry: an unknown schema makes dead letters, an outage doesn't."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from sorbus.bus import registry
from sorbus.bus.registry import ConfluentRegistry
from sorbus.errors import AuthError, SchemaError, SorbusError, TransientError
from sorbus.settings import Settings

UNKNOWN = {"error_code": 40403, "message": "Schema not found"}


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_PUT = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "body", "expected", "words"),
    [
        (404, b"<html>nothing here</html>", TransientError, "404"),
        (404, b'{"error": "no route"}', TransientError, "is SORBUS_REGISTRY a schema registry"),
        (200, b"<html>sign in</html>", TransientError, "is SORBUS_REGISTRY a schema registry"),
        (200, b"[]", TransientError, "is SORBUS_REGISTRY a schema registry"),
        (200, b"[" * 100_000, TransientError, "is SORBUS_REGISTRY a schema registry"),
        (200, b'{"id": "7"}', TransientError, "its answer holds no"),
        (200, b'{"id": true, "version": true}', TransientError, "its answer holds no"),
        (200, b'{"id": 4294967296, "version": 4294967296}', TransientError, "its answer holds no"),
        (429, b'{"message": "too many requests"}', TransientError, "can't answer: too many requests$"),
        (301, b"", TransientError, "301"),
        (500, b'{"message": "no leader"}', TransientError, "no leader"),
        (401, b"", AuthError, "denies access"),
        (403, b'{"message": "not for you"}', AuthError, "not for you"),
        (409, b'{"message": "not compatible"}', SchemaError, "not compatible"),
        (422, b'{"message": "no schema"}', SchemaError, "no schema"),
        (200, b" " * 2000 + b"{}", TransientError, "TooLarge"),
    ],
)
def test_what_is_no_registrys_answer(
    status: int, body: bytes, expected: type[SorbusError], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if words == "TooLarge":
        monkeypatch.setattr(registry, "LARGEST_ANSWER", 1000)
    with answering(status, body) as url:
        asked = ConfluentRegistry(Settings(registry=url))
        for ask in (lambda: asked.schema(7), lambda: asked.latest("a"), lambda: asked.register("a", "{}")):
            with pytest.raises(expected, match=words):
                ask()


def test_a_schema_that_a_registry_lacks_is_none() -> None:
    with answering(404, json.dumps(UNKNOWN).encode()) as url:
        asked = ConfluentRegistry(Settings(registry=url))
        assert asked.schema(7) is None
        assert asked.latest("a") is None
        assert asked.versions("a") == []
        assert asked.level("a") is None
        assert not asked.knows("a", "{}")
        with pytest.raises(TransientError, match="doesn't know it yet"):
            asked.register("a", "{}")
