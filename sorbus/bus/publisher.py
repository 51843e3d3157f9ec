"""Publishing in transactions: events and the position after them appear together or not at all.

Kafka's transactions (KIP-98) also fence: a second producer of the same system makes the first one's next call fail.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from confluent_kafka import KafkaError, KafkaException

from sorbus.bus.kafka import as_error, kafka_errors, prompt_id, transactional_producer
from sorbus.bus.reachable import Reachable
from sorbus.errors import PermanentError, TransientError
from sorbus.event import Headers
from sorbus.settings import Settings

_TIMEOUT, _STEP = 60.0, 2.0
_SETTLES = 0.001
"""Seconds after a commit until its markers are written, mostly. Whoever begins before is told that transactions are
concurrent, and librdkafka waits 20 ms then.
"""
# Kafka's own topic, which it makes itself; asking about another might make that.
_TRANSACTIONS = "__transaction_state"
Outgoing = tuple[str, bytes, bytes | None, Headers]
"""A message on its way: topic, key, value, headers."""


class Publisher:
    """One system's producer on the bus. Any error leaves the transaction open: `close` it and open a new one."""

    def __init__(
        self,
        settings: Settings,
        transactional_id: str,
        *,
        is_stopping: Callable[[], bool] = lambda: False,
        reachable: Reachable | None = None,
    ) -> None:
        """Takes over from a predecessor: its open transaction is aborted, its further calls fail.

        `is_stopping` ends the wait for an unreachable Kafka: nothing is lost, the next start repeats it.
        """
        self._is_stopping = is_stopping
        self._id = transactional_id
        self._producer = transactional_producer(settings, transactional_id, reachable)
        self._begun_at: float | None = None
        self._committed_at = 0.0
        prompt_id(self._producer, _TRANSACTIONS)
        self._in_steps(self._producer.init_transactions, f"taking over the transactions of {transactional_id}")

    @property
    def open_since(self) -> float | None:
        """When the current transaction began (monotonic seconds); None without one."""
        return self._begun_at

    def begin(self) -> None:
        """Begins a transaction unless one is in progress."""
        if self._begun_at is None:
            time.sleep(max(0.0, self._committed_at + _SETTLES - time.monotonic()))
            with kafka_errors("beginning a transaction"):
                self._producer.begin_transaction()
            self._begun_at = time.monotonic()

    def produce(
        self, topic: str, key: bytes, value: bytes | None, headers: Sequence[tuple[str, str | bytes | None]] = ()
    ) -> None:
        """Adds a message to the transaction, beginning one if needed. PermanentError if it is too large."""
        self.begin()
        deadline = None
        while True:
            try:
                self._producer.produce(topic, value=value, key=key, headers=list(headers))
                return
            except BufferError as error:
                deadline = deadline or time.monotonic() + _TIMEOUT
                if time.monotonic() > deadline:
                    raise TransientError(f"Kafka has accepted nothing for {_TIMEOUT:.0f} s") from error
                self._producer.poll(0.1)
            except KafkaException as error:
                if error.args[0].code() == KafkaError.MSG_SIZE_TOO_LARGE:
                    raise PermanentError(
                        f"the event has {len(value or b''):,} bytes, more than Kafka accepts in one message",
                        reason="too large",
                    ) from error
                raise as_error(error.args[0], "publishing") from error

    def produce_all(self, messages: Sequence[Outgoing]) -> list[tuple[int, PermanentError]]:
        """Adds many messages; returns the indexes of those that are too large, with the reason."""
        self.begin()
        produce, refused = self._producer.produce, []
        for place, (topic, key, value, headers) in enumerate(messages):
            try:
                produce(topic, value, key, headers=headers)
            except (BufferError, KafkaException):
                try:
                    self.produce(topic, key, value, headers)
                except PermanentError as error:
                    refused.append((place, error))
        self._producer.poll(0)
        return refused

    def commit(self) -> None:
        """Makes the transaction's messages visible. TransientError: they aren't, or the outcome is unknown."""
        if self._begun_at is None:
            return
        self._in_steps(self._producer.commit_transaction, "committing a transaction")
        self._begun_at, self._committed_at = None, time.monotonic()

    def _in_steps(self, call: Callable[[float], None], doing: str) -> None:
        """Runs a transactional call in short steps, so that signals are handled; librdkafka resumes it each time."""
        deadline = time.monotonic() + _TIMEOUT
        while True:
            try:
                return call(_STEP)
            except KafkaException as error:
                failure = error.args[0]
                self.poll()
                late = time.monotonic() > deadline or self._is_stopping()
                if failure.code() != KafkaError._TIMED_OUT or late:
                    raise as_error(failure, doing) from error

    def poll(self) -> None:
        """Lets the client run its callbacks; call it now and then while nothing is published."""
        self._producer.poll(0)

    def close(self) -> None:
        """Aborts what is not committed."""
        if self._begun_at is not None:
            self._begun_at = None
            self._producer.purge()
            try:
                self._producer.abort_transaction(_STEP)
            except KafkaException:
                # Kafka is unreachable or we are fenced: the successor's init_transactions aborts it.
                return
