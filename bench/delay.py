"""A way to a server that takes a set time, there and back: what a target in a cloud is to a company's own machine."""

import multiprocessing
import queue
import socket
import threading
import time
from contextlib import suppress


class Delay:
    """Passes connections on to a server of this machine, every byte `seconds / 2` later in each direction.

    In a process of its own, so that it takes nothing from whom it delays but the time it is to take.
    """

    def __init__(self, port: int, seconds: float) -> None:
        ours, theirs = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("spawn").Process(
            target=_serve, args=(theirs, port, seconds / 2), daemon=True
        )
        self._process.start()
        self.port: int = ours.recv()

    def close(self) -> None:
        """Ends all connections."""
        self._process.terminate()
        self._process.join()


def _serve(told: "multiprocessing.connection.Connection", port: int, half: float) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        told.send(listener.getsockname()[1])
        while True:
            near, _ = listener.accept()
            far = socket.create_connection(("127.0.0.1", port))
            for one, other in ((near, far), (far, near)):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                passing: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
                threading.Thread(target=_take, args=(one, passing, half), daemon=True).start()
                threading.Thread(target=_give, args=(other, passing), daemon=True).start()


def _take(one: socket.socket, passing: "queue.SimpleQueue[tuple[float, bytes]]", half: float) -> None:
    data = b"-"
    while data:
        with suppress(OSError):
            data = b""
            data = one.recv(1 << 18)
        passing.put((time.monotonic() + half, data))


def _give(other: socket.socket, passing: "queue.SimpleQueue[tuple[float, bytes]]") -> None:
    with suppress(OSError):
        while True:
            due, data = passing.get()
            time.sleep(max(0.0, due - time.monotonic()))
            if not data:
                other.shutdown(socket.SHUT_WR)
                return
            other.sendall(data)
