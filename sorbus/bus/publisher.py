"""Publishing in transactions: events and the position after them appear together or not at all.

Kafka's transactions (KIP-98) also fence: a second producer of the same system makes the first one's next call fail.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from operator import itemgetter
from types import MappingProxyType

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AclOperation

from sorbus.bus.kafka import MAX_MESSAGE_BYTES, admin, as_error, kafka_errors, prompt_id, transactional_producer
from sorbus.bus.reachable import Reachable
from sorbus.bus.topic_facts import denied
from sorbus.errors import PermanentError, SorbusError, TransientError
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

_FRAMED = 150
"""Bytes that Kafka adds to a message that is sent alone, at most."""


def message_bytes(key: bytes, value: bytes | None, headers: Iterable[tuple[str, str | bytes | None]]) -> int:
    """What a message takes of its topic's max.message.bytes if it is sent alone and can't be compressed."""
    names = sum(len(name) + len(content or b"") + 8 for name, content in headers)
    return len(key) + len(value or b"") + names + _FRAMED


class Publisher:
    """One system's producer on the bus. Any error leaves the transaction open: `close` it and open a new one."""

    def __init__(
        self,
        settings: Settings,
        transactional_id: str,
        *,
        is_stopping: Callable[[], bool] = lambda: False,
        reachable: Reachable | None = None,
        largest: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        """Takes over from a predecessor: its open transaction is aborted, its further calls fail.

        `largest`: topic -> bytes of the largest message that it takes, where that is to be heeded.

        `is_stopping` ends the wait for an unreachable Kafka: nothing is lost, the next start repeats it.
        """
        self._is_stopping = is_stopping
        self._settings = settings
        self._topics: set[str] = set()
        """Those of the transaction in progress."""
        self._largest = largest
        batch = min(largest.values(), default=MAX_MESSAGE_BYTES)
        self._producer = transactional_producer(settings, transactional_id, reachable, batch=batch)
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
        self._topics.add(topic)
        if (most := self._largest.get(topic)) is not None and (size := message_bytes(key, value, headers)) > most:
            raise PermanentError(
                f"the event has {size:,} bytes, more than its topic takes ({most:,}): shorten it where it comes from,"
                f" or raise max.message.bytes of {topic} (`sorbus apply` does) and requeue it",
                reason="too large",
            )
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
                raise self._why_not(error.args[0], "publishing") from error

    def produce_all(self, messages: Sequence[Outgoing]) -> list[tuple[int, PermanentError]]:
        """Adds many messages; returns the indexes of those that are too large, with the reason."""
        self.begin()
        self._topics.update(map(itemgetter(0), messages))
        produce, refused = self._producer.produce, []
        for place, (topic, key, value, headers) in enumerate(messages):
            try:
                if not self._largest:
                    produce(topic, value, key, headers=headers)
                    continue
            except (BufferError, KafkaException):
                pass  # `produce` waits, or says why
            try:
                self.produce(topic, key, value, headers)
            except PermanentError as error:
                refused.append((place, error))
        self.poll()
        return refused

    def commit(self) -> None:
        """Makes the transaction's messages visible. TransientError: they aren't, or the outcome is unknown."""
        if self._begun_at is None:
            return
        self._in_steps(self._producer.commit_transaction, "committing a transaction")
        self._begun_at, self._committed_at = None, time.monotonic()
        self._topics.clear()

    def _in_steps(self, call: Callable[[float], None], doing: str) -> None:
        """Runs a transactional call in short steps, so that signals are handled; librdkafka resumes it each time."""
        deadline = time.monotonic() + _TIMEOUT
        while True:
            try:
                return call(_STEP)
            except KafkaException as error:
                failure = error.args[0]
                late = time.monotonic() > deadline or self._is_stopping()
                if failure.code() != KafkaError._TIMED_OUT or late:
                    raise self._why_not(failure, doing) from error
                self.poll()

    def poll(self) -> None:
        """Lets the client run its callbacks; call it now and then while nothing is published. TransientError, AuthError
        where it can publish no more.
        """
        with kafka_errors("publishing"):
            self._producer.poll(0)

    def _why_not(self, failure: KafkaError, doing: str) -> SorbusError:
        """A failure in plain words. In a transaction that has failed Kafka's client says only that it has; why, it says
        to who commits it.
        """
        if failure.code() == KafkaError._STATE and self._begun_at is not None:
            try:
                self._producer.commit_transaction(0)
            except KafkaException as error:
                failure = error.args[0]
        if failure.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            with suppress(SorbusError):
                names = denied(admin(self._settings), sorted(self._topics), [AclOperation.WRITE])
                doing = f"{doing}: on {', '.join(names)}" if names else doing
        return as_error(failure, doing)

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
