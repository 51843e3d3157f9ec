"""Publishing at once, without a transaction: for events that would be the same if they were read again."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from confluent_kafka import KafkaError, KafkaException, Message

from sorbus.bus.kafka import as_error, direct_producer, kafka_errors, prompt_id
from sorbus.bus.publisher import Outgoing
from sorbus.bus.topic_ends import TopicEnds
from sorbus.errors import TransientError
from sorbus.event import Headers
from sorbus.settings import Settings

_TIMEOUT, _STEP = 30.0, 2.0


class DirectPublisher:
    """One system's events, in the order in which they are sent. After any error `close` it: what arrived is unknown."""

    def __init__(self, settings: Settings, role: str, ends: TopicEnds, is_stopping: Callable[[], bool]) -> None:
        """`ends` is told what was sent. `is_stopping` ends the wait for an unreachable Kafka."""
        self._ends, self._is_stopping = ends, is_stopping
        self._failure: tuple[KafkaError, str] | None = None
        """The first, and its topic."""
        self._is_known = False
        self._producer = direct_producer(settings, role, self._delivered)

    def send(self, messages: Sequence[Outgoing]) -> None:
        """Sends these; Kafka has them after `flush`. TransientError."""
        if not self._is_known and messages:
            self._is_known = True
            prompt_id(self._producer, messages[0][0])
        for topic, key, value, headers in messages:
            partition = self._ends.partition(topic, key)
            self._send(topic, partition, key, value, headers)
            self._ends.sent(topic, partition)
        self.poll()

    def flush(self) -> None:
        """Waits until Kafka has all that was sent. TransientError."""
        deadline = time.monotonic() + _TIMEOUT
        while self._producer.flush(_STEP):
            if time.monotonic() > deadline or self._is_stopping():
                raise TransientError("publishing: Kafka has not confirmed the last events")
            self._check()
        self._check()

    def poll(self) -> None:
        """Lets the client run its callbacks. TransientError for what could not be delivered."""
        with kafka_errors("publishing"):
            self._producer.poll(0)
        self._check()

    def close(self) -> None:
        """Gives Kafka a moment to take what was sent, then drops the rest."""
        if self._failure is not None or self._producer.flush(_STEP):
            self._producer.purge()
            self._producer.flush(0)  # takes the reports of what was purged

    def _send(self, topic: str, partition: int, key: bytes, value: bytes | None, headers: Headers) -> None:
        deadline = time.monotonic() + _TIMEOUT
        while True:
            try:
                self._producer.produce(topic, value, key, partition, headers=headers)
                return
            except BufferError as error:
                if time.monotonic() > deadline or self._is_stopping():
                    raise TransientError(f"Kafka has accepted nothing for {_TIMEOUT:.0f} s") from error
                self._producer.poll(0.1)
                self._check()
            except KafkaException as error:
                raise as_error(error.args[0], f"publishing on {topic}") from error

    def _delivered(self, failure: KafkaError | None, message: Message) -> None:
        if failure is not None and self._failure is None:
            self._failure = failure, message.topic() or ""

    def _check(self) -> None:
        if self._failure is not None:
            failure, topic = self._failure
            raise as_error(failure, f"publishing on {topic}")
