"""A server that doesn't answer, answers drop by drop, floods, or talks nonsense holds nobody up."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from pydantic import ValidationError

from sorbus.errors import TransientError
from sorbus.ldap import bounded_socket
from sorbus.ldap.connection import LdapConnection
from sorbus.ldap.session import Directory

BOUND = bytes.fromhex("300c02010161070a010004000400")
"""A bind's success, for message 1."""


def silent(connection: socket.socket) -> None:
    connection.recv(10_000)


def dripping(connection: socket.socket) -> None:
    """One byte of an endless message now and then: each of them in time."""
    connection.sendall(b"\x30\x84\x00\xff\xff\xff")
    while True:
        connection.sendall(b"\x04")
        time.sleep(0.1)  # as slow servers do


def flooding(connection: socket.socket) -> None:
    connection.recv(10_000)
    connection.sendall(BOUND)
    connection.recv(10_000)
    connection.sendall(b"\x30\x84\x7f\xff\xff\xff")
    while True:
        connection.sendall(bytes(65_536))


def nonsense(connection: socket.socket) -> None:
    connection.recv(10_000)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def closing(connection: socket.socket) -> None:
    connection.recv(10_000)


@contextmanager
def serving(answer: Callable[[socket.socket], None], *, stays: bool) -> Iterator[int]:
    listening = socket.create_server(("127.0.0.1", 0))
    taken: list[socket.socket] = []

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listening.accept()
                taken.append(connection)
                with suppress(OSError):
                    answer(connection)
                if not stays:
                    connection.close()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield int(listening.getsockname()[1])
    finally:
        listening.close()
        for connection in taken:
            connection.close()


@pytest.mark.parametrize(
    ("answer", "stays"),
    [(silent, True), (dripping, True), (flooding, True), (nonsense, True), (nonsense, False), (closing, False)],
)
def test_whatever_a_server_does_there_is_an_answer_in_time(
    answer: Callable[[socket.socket], None],
    stays: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bounded_socket, "MOST_BYTES", 1_000_000)
    with serving(answer, stays=stays) as port:
        options = LdapConnection(url=f"ldap://127.0.0.1:{port}", base="dc=x", timeout=1.0)
        began = time.monotonic()
        with pytest.raises(TransientError):
            assert Directory("dir", options, Path()).schema
        assert time.monotonic() - began < 2.5


def test_an_address_with_a_login_is_refused_without_it() -> None:
    with pytest.raises(ValidationError) as refused:
        LdapConnection(url="ldap://cn=admin:hunter22@127.0.0.1", base="dc=x")
    assert "hunter22" not in refused.value.errors()[0]["msg"]
