"""Letters written to a line's dead letter topic, as a consumer writes and closes them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from confluent_kafka import Producer

from sorbus.bus.kafka import base_config
from sorbus.deadletter import CLOSED, CLOSED_BY, DeadLetter
from sorbus.dlq.index import LetterIndex
from sorbus.errors import PermanentError
from tests.consumers.gadgets import Record
from tests.consumers.line import FLOW, Line, named

AGES_AGO = 1_700_000_000_000_000


class Post:
    """One line's dead letters."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self.topic = line.names.dead_letters("gadget")
        self._producer = Producer({"compression.type": "lz4", **base_config(line.settings, "post")})

    def letter(self, number: int, *, reason: str = "CheckViolation", record: Record | None = None) -> DeadLetter:
        """A letter about gadget g<number>, version <number>; each a second younger than the one before."""
        frame, headers = self._line.writer.event(f"g{number}", number, record or named(f"gadget {number}"))
        error = PermanentError("it is refused", reason=reason, field="name", rule="value", words="no such thing")
        letter = DeadLetter.refused(
            error,
            data_type="gadget",
            system="books",
            flow=FLOW,
            origin=(self._line.topic, 0, number),
            record_id=f"g{number}".encode(),
            value=frame,
            headers=[(name, content.encode() if isinstance(content, str) else content) for name, content in headers],
        )
        at = AGES_AGO + number * 1_000_000
        return replace(letter, first_at=at, last_at=at)

    def write(self, letters: Iterable[DeadLetter]) -> None:
        """Puts letters on the topic."""
        for letter in letters:
            self._put(letter.id.encode(), letter.value or b"", letter.to_headers())
        self._flush()

    def close(self, letter: DeadLetter, how: str, by: int | None = None) -> None:
        """Closes one."""
        version = [] if by is None else [(CLOSED_BY, str(by).encode())]
        self._put(letter.id.encode(), None, [(CLOSED, how.encode()), *version])
        self._flush()

    def index(self) -> LetterIndex:
        """An index of the line's letters."""
        return LetterIndex(self._line.state, self._line.settings, self._line.names, ["gadget"])

    def _put(self, key: bytes, value: bytes | None, headers: list[tuple[str, bytes]]) -> None:
        while True:
            try:
                self._producer.produce(self.topic, value, key, headers=list(headers))
                return
            except BufferError:
                self._producer.poll(0.1)

    def _flush(self) -> None:
        assert self._producer.flush(60) == 0, "Kafka didn't take the test's letters"
