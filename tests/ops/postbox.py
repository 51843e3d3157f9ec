"""Where the tests' mail and webhooks arrive, on loopback: a server that speaks SMTP (RFC 5321), one that takes JSON."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Postbox(socketserver.ThreadingTCPServer):
    """Keeps the mail that is handed in; `refuses` has it answer that it takes none.

    `busy`: what it answers instead for an address, such as 450 (come again later); "" hangs up.
    """

    daemon_threads, allow_reuse_address = True, True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Session)
        self.mail: list[EmailMessage] = []
        self.refuses = False
        self.busy: dict[str, str] = {}

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def to(self, address: str) -> list[EmailMessage]:
        """What has arrived for an address."""
        return [each for each in list(self.mail) if each["X-Envelope-To"] == address]


class _Session(socketserver.StreamRequestHandler):
    server: Postbox

    def handle(self) -> None:
        self._say("220 postbox")
        to: list[str] = []
        while line := self.rfile.readline():
            verb = line.decode().strip()
            if verb.upper().startswith("RCPT TO:"):
                if self.server.refuses:
                    self._say("550 nobody of that name lives here")
                    continue
                address = verb[8:].strip().strip("<>")
                if (answer := self.server.busy.get(address)) is not None:
                    if not answer:
                        return
                    self._say(answer)
                    continue
                to.append(address)
            elif verb.upper() == "DATA":
                self._say("354 go on")
                self._keep(to)
                to = []
            elif verb.upper() == "QUIT":
                self._say("221 bye")
                return
            self._say("250 postbox" if not verb.upper().startswith("EHLO") else "250-postbox\r\n250 8BITMIME")

    def _keep(self, to: list[str]) -> None:
        lines = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line[1:] if line.startswith(b"..") else line)
        for address in to:
            message = message_from_bytes(b"".join(lines), EmailMessage, policy=policy.default)
            message["X-Envelope-To"] = address
            self.server.mail.append(message)

    def _say(self, words: str) -> None:
        self.wfile.write(f"{words}\r\n".encode())


class Hook(ThreadingHTTPServer):
    """Keeps the JSON that is posted to it, with the authorization that came with it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Post)
        self.posted: list[tuple[str, dict[str, Any]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/"


class _Post(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.posted.append((self.headers.get("authorization", ""), json.loads(body)))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Says nothing: the tests look at what has arrived."""


def text_of(message: EmailMessage, kind: str = "plain") -> str:
    """A mail's words, plain or as HTML."""
    body = message.get_body((kind,))
    assert body is not None, f"no {kind} part in:\n{message}"
    return str(body.get_content()).replace("\r\n", "\n")


@contextmanager
def served(*servers: socketserver.TCPServer) -> Iterator[None]:
    """Serves in threads while the block lasts."""
    threads = [threading.Thread(target=server.serve_forever, args=(0.05,)) for server in servers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
        for thread in threads:
            thread.join(10)
