"""Writing a flow's dead letters, and closing those that have landed after all."""

from __future__ import annotations

from collections.abc import Sequence

from confluent_kafka import KafkaException, Message, Producer

from sorbus.bus.kafka import bytes_of, headers_of, kafka_errors, offset_of, spot_of
from sorbus.bus.names import Names
from sorbus.connector import BoundFlow
from sorbus.deadletter import LETTER, DeadLetter
from sorbus.errors import PermanentError, TransientError


class Letters:
    """One flow's way into its data type's dead letter topic."""

    def __init__(self, producer: Producer, names: Names, flow: BoundFlow) -> None:
        self._producer = producer
        self._names = names
        self._flow = flow
        self._topic = names.dead_letters(flow.flow.data_type)
        self._failed: str | None = None

    def write(self, message: Message, error: PermanentError) -> str:
        """Queues a letter for a message that could not pass; its id. `flush` before offsets move."""
        headers = headers_of(message)
        before = dict(headers).get(LETTER)
        former = DeadLetter.from_message(before, message.value(), headers) if before else None
        letter = DeadLetter.refused(
            error,
            data_type=self._flow.flow.data_type,
            system=self._flow.system.name,
            flow=self._flow.flow.id,
            origin=(*spot_of(message), offset_of(message)),
            record_id=bytes_of(message.key()),
            value=message.value(),
            headers=headers,
            before=former,
        )
        self._send(letter.id.encode(), letter.value if letter.value is not None else b"", letter.to_headers())
        return letter.id

    def close(self, letter: bytes | None) -> None:
        """Queues the closing of a letter that has landed."""
        if letter:
            self._send(letter, None, [("sorbus.closed", b"requeued")])

    def flush(self) -> None:
        """Waits until Kafka has them all. TransientError when it doesn't take them."""
        with kafka_errors("writing dead letters"):
            left = self._producer.flush(30.0)
        failed, self._failed = self._failed, None
        if left or failed:
            raise TransientError(f"Kafka didn't take the dead letters: {failed or f'{left} are still waiting'}")

    def _send(self, key: bytes, value: bytes | None, headers: Sequence[tuple[str, bytes]]) -> None:
        try:
            self._producer.produce(self._topic, value, key, headers=list(headers), on_delivery=self._delivered)
        except (BufferError, KafkaException) as error:
            raise TransientError(f"a dead letter can't be written: {error}") from error

    def _delivered(self, error: object, _: Message) -> None:
        if error is not None:
            self._failed = str(error)
