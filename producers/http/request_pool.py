"""Questions to an application, asked in threads: a list that hangs holds up nobody but itself."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future

from sorbus.http_api.interface import Page, Record

Answer = Page | Record | None


class RequestPool:
    """Asks, and wakes whoever waits. How many requests go out at a time is the transport's business."""

    def __init__(self) -> None:
        self._arrived = threading.Event()

    def ask(self, question: Callable[[], Answer]) -> Future[Answer]:
        """The answer to come. The thread is a daemon: an application that never answers doesn't keep a process."""
        future: Future[Answer] = Future()

        def run() -> None:
            try:
                future.set_result(question())
            except BaseException as error:  # noqa: BLE001 - raised where the answer is taken
                future.set_exception(error)
            self._arrived.set()

        threading.Thread(target=run, name="ask", daemon=True).start()
        return future

    def wait(self, seconds: float) -> None:
        """Until an answer has come that nobody was woken for yet, or for so long."""
        self._arrived.wait(seconds)
        self._arrived.clear()
