"""Applications on loopback, as a map would bind them, and how to talk to them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

from ruamel.yaml import YAML

from sorbus.http_api.connection import Application, HttpConnection
from sorbus.http_api.description import Description

FAULTY = Path(__file__).with_name("faulty.yaml")


def application(
    base_url: str, description: Mapping[str, object] | None = None, *, system: str = "crm", **connection: object
) -> Application:
    """One application of a map: the faulty one's description, with top-level keys changed, and this connection."""
    written = YAML(typ="safe").load(FAULTY)
    written.pop("x-contact", None)
    described = Description.model_validate({**written, **(description or {})})
    given = HttpConnection.model_validate({"api": "faulty", **connection})
    return Application(
        system=system,
        description=described,
        connection=given,
        settings={},
        base_url=base_url,
        token_url=described.auth.token_url.replace("{base}", base_url),
        auth=described.auth,
        limits=tuple(described.limits if given.limits is None else given.limits),
    )


OAUTH2 = {"kind": "oauth2", "token_url": "{base}/oauth/token", "client_auth": "client_secret_basic"}


class Asked(NamedTuple):
    """A request as it came."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


Reply = tuple[int, Mapping[str, str], bytes]


@contextmanager
def answering(answer: Callable[[Asked], Reply]) -> Iterator[tuple[str, list[Asked]]]:
    """A real server that answers as the function says; its base URL, and what it was asked."""
    asked: list[Asked] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            asked.append(Asked(self.command, self.path, dict(self.headers), body))
            status, headers, content = answer(asked[-1])
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815 - the library's names

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


def as_json(status: int, body: object, **headers: str) -> Reply:
    """An answer of JSON."""
    return status, {"Content-Type": "application/json", **headers}, json.dumps(body).encode()
