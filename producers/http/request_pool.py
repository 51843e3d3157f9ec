"""Questions to an application, asked in threads: a list that hangs holds up nobody but itself."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from datetime import timedelta

from sorbus.calendar_limits import EPOCH
from sorbus.http_api.interface import Api, Page, Record, Shows
from sorbus.producers.polling.poll_state import AskPage, AskRecord

Answer = Page | Record | None


def answer_of(api: Api, resource: str, question: AskPage | AskRecord, *, by_changes: bool) -> Answer:
    """What the application answers. `by_changes`: a list of all is one of the changes since 1970."""
    if isinstance(question, AskRecord):
        found = api.look(resource, question.id) if isinstance(api, Shows) else api.get(resource, question.id)
        return None if found is None else found.record
    since = question.since if question.since is not None or not by_changes else 0
    moment = None if since is None else EPOCH + timedelta(microseconds=since)
    return api.page(resource, since=moment, after=question.after)


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

    def wake(self) -> None:
        """Ends the wait, or the next one: something else has arrived. Safe for threads."""
        self._arrived.set()

    def wait(self, seconds: float) -> None:
        """Until an answer has come that nobody was woken for yet, or for so long."""
        self._arrived.wait(seconds)
        self._arrived.clear()
