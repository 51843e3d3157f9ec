"""Writing messages to a topic of any cluster, and knowing of each whether Kafka has it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, TopicCollection

from sorbus.bus.kafka import admin, as_error, idempotent_producer, kafka_errors
from sorbus.consumers.kafka.topic_identity import TopicIdentity
from sorbus.errors import TransientError
from sorbus.settings import Settings

_PATIENCE = 30.0
_REFUSED = (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_RECORD)
"""Of one message, whatever comes with it in its batch; not its time, which is that of our clock."""


class RecordOfTopic(NamedTuple):
    """A record's messages, in order: its new state, or a delete and its tombstone. `place`: in the batch."""

    place: int
    key: bytes
    values: Sequence[bytes | None]
    version: int


class _Sent:
    """One batch's messages: how many Kafka hasn't answered for, and of each failed record (by place) the error's code.

    Of its own for each batch: an answer for an earlier one that comes late must not count for this one.
    """

    def __init__(self) -> None:
        self.left = 0
        self.failures: dict[int, int] = {}

    def noting(self, place: int) -> Callable[[KafkaError | None, Message], None]:
        """librdkafka's callback for a message of the record."""

        def note(error: KafkaError | None, _: Message) -> None:
            self.left -= 1
            if error is not None:
                self.failures[place] = error.code()

        return note


class TopicWriter:
    """An idempotent producer for one topic; keys go to the partitions that Java's producers choose."""

    def __init__(self, settings: Settings, topic: str, role: str) -> None:
        """UsageError where librdkafka rejects a setting."""
        config = {"partitioner": "murmur2_random", "linger.ms": 5, **settings.kafka_config}
        ours = settings.model_copy(update={"kafka_config": config})
        self._topic = topic
        self._producer, self._admin = idempotent_producer(ours, role), admin(settings)

    def check(self) -> TopicIdentity:
        """What the topic is now, its keys aside. TransientError where it isn't there; AuthError."""
        doing = f"looking up topic {self._topic}"
        try:  # a producer that asks for one topic by name has the broker make it, if the broker may, uncompacted
            with kafka_errors(doing):
                asked = self._admin.describe_topics(TopicCollection([self._topic]), request_timeout=10.0)
                found = asked[self._topic].result(_PATIENCE)
                return TopicIdentity(str(found.topic_id), len(found.partitions))
        except TransientError as error:
            cause = error.__cause__
            failure = cause.args[0] if isinstance(cause, KafkaException) else None
            if isinstance(failure, KafkaError) and failure.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                said = f"topic {self._topic} isn't there: run `sorbus apply`, which makes it; if it was deleted, then"
                raise TransientError(f"{said} `sorbus reconcile FLOW --heal`, which writes again what it had") from None
            raise

    def write(self, records: Sequence[RecordOfTopic]) -> dict[int, str]:
        """Writes them and waits until Kafka has them; returns the places of those that it refuses, and its words.

        TransientError, AuthError: some may be there and some not; write all of them again.
        """
        failures = self._send(records)
        refused = [record for record in records if failures.get(record.place) in _REFUSED]
        self._raise_for(failures, but=_REFUSED)
        if len(refused) == len(records) == 1:
            return {place: KafkaError(code).str() for place, code in failures.items()}
        # A broker refuses a whole batch for one message: each is tried alone.
        return {place: words for record in refused for place, words in self.write([record]).items()}

    def _send(self, records: Sequence[RecordOfTopic]) -> dict[int, int]:
        """Place -> error code of what Kafka didn't take."""
        sent = _Sent()
        for record in records:
            for value in record.values:
                try:
                    self._produce(record, value, sent.noting(record.place))
                    sent.left += 1
                except KafkaException as error:
                    sent.failures[record.place] = error.args[0].code()
                    break
        deadline = time.monotonic() + _PATIENCE
        while sent.left and time.monotonic() < deadline:
            self._producer.poll(0.1)
        if sent.left:
            self._producer.purge()
            self._producer.poll(0)
            late = TransientError(f"writing to topic {self._topic}: Kafka hasn't confirmed within {_PATIENCE:.0f} s")
            late.smaller = len(records) > 1  # a slow line takes fewer of them in this time
            raise late
        return sent.failures

    def _produce(
        self, record: RecordOfTopic, value: bytes | None, note: Callable[[KafkaError | None, Message], None]
    ) -> None:
        headers: list[tuple[str, str | bytes | None]] = [("sorbus_version", str(record.version).encode())]
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                self._producer.produce(self._topic, value, record.key, headers=headers, on_delivery=note)
                return
            except BufferError as error:
                if time.monotonic() > deadline:
                    raise TransientError(f"Kafka has accepted nothing for {_PATIENCE:.0f} s") from error
                self._producer.poll(0.1)

    def _raise_for(self, failures: dict[int, int], *, but: Sequence[int]) -> None:
        for code in failures.values():
            if code not in but:
                raise as_error(KafkaError(code), f"writing to topic {self._topic}")

    def close(self) -> None:
        """Drops what Kafka hasn't confirmed: it is written again."""
        self._producer.purge()
        self._producer.poll(0)
