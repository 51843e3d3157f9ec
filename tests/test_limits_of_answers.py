"""Whatever Sorbus asks, an answer that drips or never ends is given up in time and in bytes; so is who asks us.

The table of limits: docs/operations.md, "Limits of connections"; HTTP and tokens: tests/http_api/test_bounded.py.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest
from pydantic import SecretStr

from sorbus.bus import registry
from sorbus.bus.registry import ConfluentRegistry
from sorbus.errors import SorbusError, TransientError
from sorbus.ops.digest import mail
from sorbus.ops.digest.mail import outbox
from sorbus.ops.monitoring import dependencies
from sorbus.ops.monitoring.dependencies import Dependencies
from sorbus.ops.runtime.supervisor import _complaint
from sorbus.plain_server import PlainServer
from sorbus.postgres.connection import PostgresConnection, connect
from sorbus.settings import Settings
from sorbus.telemetry.health import Health, HealthServer
from tests.consumers.line import eventually
from tests.peers import Answers, dripping, endless, peer

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
SECONDS = 0.5


def ask_registry(port: int) -> None:
    ConfluentRegistry(Settings(registry=f"http://127.0.0.1:{port}")).schema(7)


def watch_registry(port: int) -> None:
    asked = Dependencies(Settings(registry=f"http://127.0.0.1:{port}", database=""), "", every=0.0)()
    (found,) = (each for each in asked if each.subject == "registry")
    raise TransientError(found.why)


def send_mail(tls: str) -> Callable[[int], None]:
    def send(port: int) -> None:
        settings = Settings(mail_server=f"127.0.0.1:{port}", mail_from="sorbus@example.org", mail_tls=tls)
        with outbox(settings):
            pytest.fail("a mail server that says no sense was taken for one")

    return send


def reach_postgres(port: int) -> None:
    connect(PostgresConnection(dsn=SecretStr(f"postgresql://a@127.0.0.1:{port}/b?connect_timeout=2")), "test")


def ask_child(port: int) -> None:
    if words := _complaint(port):
        raise TransientError(words)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "LONGEST_CALL", SECONDS / 3)
    monkeypatch.setattr(dependencies, "_WHOLE", SECONDS)
    monkeypatch.setattr(mail, "_WHOLE", SECONDS)
    monkeypatch.setenv("SORBUS_DATABASE", "")


ASK: dict[str, tuple[Callable[[int], None], Answers]] = {
    "registry, head": (ask_registry, dripping(HEAD, b"X")),
    "registry, body": (ask_registry, dripping(HEAD + b"\r\n[", b" ")),
    "registry, endless": (ask_registry, endless(HEAD + b"\r\n[", b" ")),
    "watch's registry, body": (watch_registry, dripping(HEAD + b"\r\n[", b" ")),
    "watch's registry, endless": (watch_registry, endless(HEAD + b"\r\n[", b" ")),
    "mail, greeting": (send_mail("off"), dripping(b"220-", b"x")),
    "mail, lines": (send_mail("off"), dripping(b"", b"220-a line\r\n")),
    "mail, endless": (send_mail("off"), endless(b"", b"220-a line\r\n")),
    "mail, before TLS": (send_mail("starttls"), dripping(b"220 here\r\n", b"250-more\r\n")),
    "mail, within TLS": (send_mail("implicit"), dripping(b"\x16\x03\x03\x40\x00", b"\x02")),
    "PostgreSQL, drips": (reach_postgres, dripping(b"E\0\0\x40\0", b"x")),
    "PostgreSQL, endless": (reach_postgres, endless(b"E\x7f\0\0\0", b"x")),
    "a process's health, drips": (ask_child, dripping(b"HTTP/1.0 503 No\r\nX: ", b"x")),
    "a process's health, endless": (ask_child, endless(b"HTTP/1.0 503 No\r\nX: ", b"x")),
}


@pytest.mark.parametrize("name", ASK)
def test_what_is_asked_ends_in_its_time(name: str) -> None:
    ask, answers = ASK[name]
    with peer(answers) as port:
        began = time.monotonic()
        with pytest.raises(SorbusError):
            ask(port)
        assert time.monotonic() - began < 4, "the clock is of the whole call, not of each read"


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port)) as one:
        one.settimeout(5)
        yield one


def test_who_drips_a_request_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PlainServer.__init__, "__kwdefaults__", {"longest": SECONDS})
    with HealthServer(Health(), process="test") as server, connected(server.port) as one:
        began = time.monotonic()
        with pytest.raises(OSError, match=r"reset|[Bb]roken pipe"):  # noqa: PT012  # until the other end has gone
            while time.monotonic() - began < 4:
                one.sendall(b"G")
                time.sleep(0.05)
        assert httpx.get(f"http://127.0.0.1:{server.port}/healthz/live").status_code == 200


def test_who_sends_an_endless_request_is_cut_off() -> None:
    with HealthServer(Health(), process="test") as server, connected(server.port) as one, pytest.raises(OSError):  # noqa: PT012
        one.sendall(b"GET / HTTP/1.1\r\n")
        for number in range(10**6):
            one.sendall(b"X-%d: %s\r\n" % (number, b"x" * 1000))


def test_only_so_many_are_served_at_once() -> None:
    with HealthServer(Health(), process="test") as server:
        idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(64)]
        try:
            with connected(server.port) as one:
                one.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
                assert _until_closed(one) == b""
        finally:
            for each in idle:
                each.close()
        # There is room once their threads have noticed that they have gone.
        eventually(lambda: _asked(server.port).endswith(b"ok\n"), "an answer after the others have gone")


def _asked(port: int) -> bytes:
    with connected(port) as one:
        one.sendall(b"GET /healthz/live HTTP/1.0\r\n\r\n")
        return _until_closed(one)


def _until_closed(one: socket.socket) -> bytes:
    found = b""
    try:
        while piece := one.recv(4096):
            found += piece
    except ConnectionResetError:
        pass
    return found
