"""Sending letters back: to the flow that refused them and to no other, under the same version guard as any event.

A source's letter holds a row that wasn't canonical: its producer is asked to read the record again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property

from confluent_kafka import Producer

from sorbus.bus.kafka import idempotent_producer
from sorbus.bus.letters import version_in
from sorbus.bus.names import Names
from sorbus.bus.requests import reread_request
from sorbus.bus.sending import Single, send
from sorbus.deadletter import CLOSED, LETTER, DeadLetter
from sorbus.dlq.statements import statement
from sorbus.postgres.connection import Connection
from sorbus.settings import Settings
from sorbus.state.database import State


def mark(connection: Connection, letters: Iterable[DeadLetter]) -> set[str]:
    """Notes that letters are about to be sent back, in the transaction of whoever wants it; ids of those not closed."""
    rows = connection.execute(statement("mark").encode(), {"ids": [letter.id for letter in letters]}).fetchall()
    return {str(id) for (id,) in rows}


def send_marked(
    sender: Sender, state: State, letters: Sequence[DeadLetter], done: Callable[[int], None] | None = None
) -> None:
    """Sends back what is marked, and notes that it is on its way. TransientError: the next requeue takes it again."""
    sender.requeue(letters, done)
    state.run(statement("sent").encode(), {"ids": [letter.id for letter in letters]})


def send_back(sender: Sender, state: State, letters: Sequence[DeadLetter]) -> None:
    """Sends back those of the index's letters that nobody has closed meanwhile. TransientError."""
    if letters:
        with state.connection() as connection:
            marked = mark(connection, letters)
        send_marked(sender, state, [letter for letter in letters if letter.id in marked])


class Sender:
    """One map's way back for letters, and out for those that are discarded."""

    def __init__(self, settings: Settings, names: Names) -> None:
        self._settings, self._names = settings, names

    def requeue(self, letters: Iterable[DeadLetter], done: Callable[[int], None] | None = None) -> None:
        """Puts `letters` on their flows' requeue topics; the flow's consumer closes each when it has landed.

        A letter older than what the target has changes nothing there, and is closed. A source's letter is closed by its
        system's producer, if that runs and the record passes now; one that starts tries all of them anyway.
        TransientError when Kafka doesn't take them all.
        """
        send(self._producer, map(self._back, letters), "requeueing", done)

    def close(self, topic: str, keys: Iterable[bytes], how: str) -> None:
        """Closes letters on their topic. TransientError when Kafka doesn't take it."""
        send(self._producer, [Single(topic, key, None, [(CLOSED, how)]) for key in keys], "closing dead letters")

    def _back(self, letter: DeadLetter) -> Single:
        if not letter.flow:
            return reread_request(self._names, letter)
        headers = [*letter.to_headers(), (LETTER, letter.id.encode())]
        # Of a tombstone a letter has the version; an empty message without one is no event, and isn't made one.
        empty = None if version_in(None, letter.headers) is not None else b""
        return Single(self._names.requeue(letter.flow), letter.record_id, letter.value or empty, headers)

    @cached_property
    def _producer(self) -> Producer:
        return idempotent_producer(self._settings, "requeue")
