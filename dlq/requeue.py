"""Sending letters back: to the flow that refused them and to no other, under the same version guard as any event.

A source's letter holds a row that wasn't canonical: its producer is asked to read the record again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from confluent_kafka import KafkaException, Message

from sorbus.bus.kafka import idempotent_producer, kafka_errors
from sorbus.bus.names import Names
from sorbus.bus.requests import ask_to_reread
from sorbus.deadletter import LETTER, DeadLetter
from sorbus.errors import TransientError
from sorbus.settings import Settings


def requeue(
    settings: Settings, names: Names, letters: Sequence[DeadLetter], done: Callable[[int], None] | None = None
) -> None:
    """Puts `letters` on their flows' requeue topics; the flow's consumer closes each when it has landed.

    A letter older than what the target has changes nothing there, and is closed. A source's letter is closed by its
    system's producer, if that runs and the record passes now; one that starts tries all of them anyway.
    """
    ask_to_reread(settings, names, [letter for letter in letters if not letter.flow], done)
    letters = [letter for letter in letters if letter.flow]
    failed: list[str] = []

    def delivered(error: object, _: Message) -> None:
        if error is not None:
            failed.append(str(error))
        elif done is not None:
            done(1)

    producer = idempotent_producer(settings, "requeue")
    for letter in letters:
        headers: list[tuple[str, str | bytes | None]] = [*letter.to_headers(), (LETTER, letter.id.encode())]
        while True:
            try:
                producer.produce(
                    names.requeue(letter.flow),
                    letter.value or None,
                    letter.record_id,
                    headers=headers,
                    on_delivery=delivered,
                )
                break
            except BufferError:
                producer.poll(0.1)
            except KafkaException as error:
                raise TransientError(f"{letter.id} can't be requeued: {error}") from error
    with kafka_errors("requeueing"):
        left = producer.flush(30.0)
    if left or failed:
        raise TransientError(f"{left + len(failed)} letters were not requeued: {failed[0] if failed else 'no answer'}")
