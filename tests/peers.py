"""Servers that drip or never end, in tests of who asks them: each call has an end in bytes and by the clock."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

Answers = Callable[[socket.socket, threading.Event], None]


@contextmanager
def peer(answers: Answers) -> Iterator[int]:
    """The port of a server on loopback that answers each connection as told, until the block ends."""
    ended = threading.Event()

    def serve(one: socket.socket) -> None:
        with suppress(OSError), one:
            answers(one, ended)

    def run(server: socket.socket) -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=run, args=(server,), daemon=True).start()
        try:
            yield server.getsockname()[1]
        finally:
            ended.set()
            with suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)


def dripping(first: bytes, piece: bytes) -> Answers:
    """Sends `first`, and then `piece` twenty times a second for ever: no single read takes long."""

    def answers(one: socket.socket, ended: threading.Event) -> None:
        one.sendall(first)
        while not ended.wait(0.05):
            one.sendall(piece)

    return answers


def endless(first: bytes, piece: bytes) -> Answers:
    """Sends `first`, and then `piece` as fast as it is taken, for ever."""

    def answers(one: socket.socket, ended: threading.Event) -> None:
        one.sendall(first)
        much = piece * (1 + 65_536 // len(piece))
        while not ended.is_set():
            one.sendall(much)

    return answers
