"""Posting a batch side by side, in rounds of a few seconds, until all is answered or the endpoint is at fault."""

from __future__ import annotations

import random
import time
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import NamedTuple

from sorbus.webhook.endpoint import PostAnswer, Verdict, WebhookClient
from sorbus.webhook.message import WebhookMessage

_BEGIN = 5.0
"""Seconds in which posts of a round are begun: then the loop shows that it is alive."""


class Post(NamedTuple):
    """A delivery that is newer than what was accepted. `place`: in the batch."""

    place: int
    id: str
    version: int
    message: WebhookMessage


class PostRounds:
    """One consumer's. `is_well`: the endpoint has accepted records of this batch, so it isn't at fault."""

    def __init__(self, client: WebhookClient, concurrency: int, flow: str) -> None:
        self._client, self._concurrency = client, concurrency
        self._pool = ThreadPoolExecutor(concurrency, thread_name_prefix=f"post {flow}")
        self._answers: dict[str, PostAnswer] = {}
        self.is_well = False

    def run(
        self, todo: Sequence[Post], failing: Collection[str], *, is_troubled: bool
    ) -> tuple[list[tuple[Post, PostAnswer]], list[tuple[Post, PostAnswer]]]:
        """What was answered now, and all that was answered in this batch and earlier rounds of it.

        `failing`: ids of records that are known to be at fault, which come last. `is_troubled`: nothing was accepted at
        the last try, so should the first ones be at fault, others get their turn.
        """
        left = [one for one in todo if one.message.id not in self._answers]
        if is_troubled or self.is_well:
            random.shuffle(left)
            left.sort(key=lambda one: one.id in failing)
        until, lock = time.monotonic() + _BEGIN, Lock()
        faults, is_over = 0, False

        def post(one: Post) -> PostAnswer | None:
            nonlocal faults, is_over
            if is_over or time.monotonic() >= until or (faults >= self._concurrency and not self.is_well):
                return None
            answer = self._client.post(one.message)
            with lock:
                self.is_well = self.is_well or answer.verdict is Verdict.ACCEPTED
                is_over = is_over or answer.verdict in (Verdict.AWAY, Verdict.BUSY)
                faults += answer.verdict not in (Verdict.ACCEPTED, Verdict.REFUSED)
            return answer

        answers = list(self._pool.map(post, left))
        now = [(one, answer) for one, answer in zip(left, answers, strict=True) if answer is not None]
        self._answers |= {one.message.id: answer for one, answer in now}
        return now, [(one, found) for one in todo if (found := self._answers.get(one.message.id)) is not None]

    def start_over(self) -> None:
        """The batch is done, or the endpoint is at fault."""
        self._answers, self.is_well = {}, False

    def close(self) -> None:
        """Ends the threads and connections."""
        self._pool.shutdown(cancel_futures=True)
        self._client.close()
