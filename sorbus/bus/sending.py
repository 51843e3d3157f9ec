"""Single messages outside transactions: when `send` returns, all are on the bus; otherwise it raises."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from sorbus.bus.kafka import as_error, bytes_of, kafka_errors, prompt_id
from sorbus.errors import TransientError

_TIMEOUT, _AT_ONCE = 30.0, 0.02


class TooLarge(TransientError):
    """Kafka takes no messages as large as those with these `keys`; all others are written."""

    def __init__(self, message: str, keys: Sequence[bytes]) -> None:
        super().__init__(message)
        self.keys = keys


class Single(NamedTuple):
    """A message to send; `value` None closes or deletes its key. `partition` -1: by the key."""

    topic: str
    key: bytes
    value: bytes | None
    headers: Sequence[tuple[str, str | bytes | None]] = ()
    partition: int = -1


def send(producer: Producer, messages: Iterable[Single], doing: str, done: Callable[[int], None] | None = None) -> None:
    """Writes the messages and waits until Kafka has them. `done` is called with the index of each.

    TransientError, AuthError if any fails: some may be written, and no other will be written later; TooLarge.
    """
    failed: list[KafkaError] = []
    too_large: list[bytes] = []

    def delivered(error: KafkaError | None, message: Message) -> None:
        if error is not None and error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            too_large.append(bytes_of(message.key()))
        elif error is not None:
            failed.append(error)
        elif done is not None:
            done(1)

    for topic, key, value, headers, partition in messages:
        while True:
            try:
                producer.produce(topic, value, key, partition, headers=list(headers), on_delivery=delivered)
                break
            except BufferError:
                producer.poll(0.1)
            except KafkaException as error:
                if error.args[0].code() == KafkaError.MSG_SIZE_TOO_LARGE:
                    too_large.append(key)
                    break
                raise as_error(error.args[0], f"{doing}: {key.decode(errors='replace')} on {topic}") from error
    with kafka_errors(doing):
        if left := producer.flush(_AT_ONCE):
            prompt_id(producer, topic)
            left = producer.flush(_TIMEOUT)
    failure = failed[0] if failed else None
    if left:
        producer.purge()
        producer.flush(1.0)
    if failure is not None:
        raise as_error(failure, f"{doing}: {topic} did not accept them")
    if left:
        raise TransientError(f"{doing}: {topic} did not accept them: no answer")
    if too_large:
        shown = too_large[0].decode(errors="replace")
        raise TooLarge(f"{doing}: {shown} is larger than Kafka accepts in one message", too_large)
