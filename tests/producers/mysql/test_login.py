"""A server that asks for a way to log in that our client library lacks a package for."""

from __future__ import annotations

import socket
import struct
import sys
from contextlib import suppress
from threading import Thread

import pytest

from sorbus.errors import AuthError
from sorbus.mysql.connection import MysqlConnection, Session

GREETING = (
    b"\x0a10.11.0-MariaDB\0" + struct.pack("<I", 1) + b"12345678\0" + struct.pack("<HBHH", 0xFFFF, 45, 2, 0x0008)
    + b"\x15" + bytes(10) + b"123456789012\0mysql_native_password\0"
)  # fmt: skip
SWITCH = b"\xfeclient_ed25519\0" + bytes(32)


def packet(number: int, body: bytes) -> bytes:
    return struct.pack("<I", len(body))[:3] + bytes([number]) + body


def greet(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.sendall(packet(0, GREETING))
        connection.recv(4096)
        connection.sendall(packet(2, SWITCH))
        with suppress(OSError):
            connection.recv(4096)


def test_a_missing_package_is_said_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    # The server offers TLS and has none: with `tls: off`, that isn't tried.
    monkeypatch.setitem(sys.modules, "nacl", None)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=greet, args=(listener,), daemon=True)
        thread.start()
        settings = {"host": "127.0.0.1", "port": listener.getsockname()[1], "user": "u", "database": "d", "tls": "off"}
        with pytest.raises(AuthError, match=r"pynacl.*another authentication plugin"):
            Session(MysqlConnection.model_validate({**settings, "password": "p"}), "test")
        thread.join(10)
