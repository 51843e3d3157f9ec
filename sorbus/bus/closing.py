"""Kafka's consumers, closed within seconds whatever Kafka's client does.

librdkafka can deadlock while a consumer is closed: where a fetch is answered "out of range" in that moment, a thread
waits for a lock that it holds itself (librdkafka issue 4514, open in 2026; 4362 and 5476 are similar). `close` would
never return, in C, where no signal interrupts it. Measured: one of 1,500 readers closed in their first 10 ms.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from confluent_kafka import Consumer, KafkaError, Message

_CLOSING = 10.0
"""Seconds; leaving a group takes five where Kafka doesn't answer."""
_log = logging.getLogger(__name__)


class ClosingConsumer(Consumer):
    """A consumer whose `close` returns within ten seconds: what hangs then is left behind, with a warning."""

    def close(self) -> None:
        """KafkaException, RuntimeError as of `Consumer.close`."""
        if not ended_within(_CLOSING, super().close):
            _log.warning("Kafka's client did not close a reader within %.0f s: it is left behind", _CLOSING)


class TopicConsumer(ClosingConsumer):
    """A consumer that is in no group. librdkafka looks for the group's coordinator all the same, whose refusal doesn't
    count: such a reader needs no rights on groups.
    """

    def consume(self, num_messages: int = 1, timeout: float = -1) -> list[Message]:
        """As `Consumer.consume`."""
        return [one for one in super().consume(num_messages, timeout) if not _is_about_group(one.error())]


def _is_about_group(failure: KafkaError | None) -> bool:
    return failure is not None and failure.code() == KafkaError.GROUP_AUTHORIZATION_FAILED


def ended_within(seconds: float, action: Callable[[], object]) -> bool:
    """Runs `action` in a thread; whether it ended in time. What it raised is raised; later it is left to itself."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            action()
        except BaseException as error:  # noqa: BLE001  # raised below
            failures.append(error)

    thread = threading.Thread(target=run, name="close", daemon=True)
    thread.start()
    thread.join(seconds)
    if failures:
        raise failures[0]
    return not thread.is_alive()
