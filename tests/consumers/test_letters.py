"""A dead letter that Kafka did not take is written again, before any offset moves."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import cast

import pytest
from confluent_kafka import Message, Producer

from sorbus.bus.letters import Letters
from sorbus.bus.names import Names
from sorbus.errors import PermanentError, TransientError
from tests.consumers.gadgets import flow_into

Report = Callable[[object, object], None]
ERROR = PermanentError("no", reason="value")


class Moody:
    """A producer that fails as it is told, then works; what it took is in `taken`."""

    def __init__(self, *moods: str) -> None:
        self.moods = deque(moods)
        self.taken: list[tuple[bytes, bytes | None]] = []
        self._waiting: list[tuple[bytes, bytes | None, Report]] = []

    def produce(self, topic: str, value: bytes | None, key: bytes, *, headers: object, on_delivery: Report) -> None:
        if self.moods and self.moods[0] == "full":
            self.moods.popleft()
            raise BufferError
        self._waiting.append((key, value, on_delivery))

    def poll(self, seconds: float) -> int:
        return 0

    def purge(self) -> None:
        self._waiting.clear()

    def flush(self, seconds: float) -> int:
        mood = self.moods.popleft() if self.moods else "fine"
        if mood == "silent":
            return len(self._waiting)
        for key, value, report in self._waiting:
            if mood == "fine":
                self.taken.append((key, value))
            report("broken" if mood == "broken" else None, None)
        self._waiting.clear()
        return 0


class Told:
    """A consumed message."""

    def __init__(self, key: bytes, offset: int) -> None:
        self._key, self._offset = key, offset

    def key(self) -> bytes:
        return self._key

    def value(self) -> bytes:
        return b"\7"

    def topic(self) -> str:
        return "gadget"

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self._offset

    def headers(self) -> None:
        return None


def told(key: bytes, offset: int) -> Message:
    return cast("Message", Told(key, offset))


def letters(producer: Moody) -> Letters:
    return Letters(cast("Producer", producer), Names(), flow_into("postgresql://nowhere"))


@pytest.mark.parametrize("mood", ["broken", "silent"])
def test_what_failed_is_written_by_the_next_flush(mood: str) -> None:
    producer = Moody(mood)
    ours = letters(producer)
    first, second = ours.write(told(b"g1", 4), ERROR), ours.write(told(b"g2", 5), ERROR)
    with pytest.raises(TransientError, match="didn't take"):
        ours.flush()
    assert producer.taken == []
    producer.moods.clear()
    ours.flush()
    assert producer.taken == [(first.encode(), b"\7"), (second.encode(), b"\7")]
    ours.flush()
    assert len(producer.taken) == 2


def test_a_full_queue_is_waited_for() -> None:
    producer = Moody("full", "full", "fine")
    ours = letters(producer)
    ours.write(told(b"g1", 4), ERROR)
    ours.flush()
    assert len(producer.taken) == 1


def test_only_a_later_state_of_the_same_record_closes_a_letter() -> None:
    producer = Moody()
    ours = letters(producer)
    id = ours.write(told(b"g1", 4), ERROR).encode()
    ours.flush()
    ours.supersede([told(b"g1", 3), told(b"g1", 4), told(b"g2", 9)])
    ours.flush()
    assert producer.taken == [(id, b"\7")]
    ours.supersede([told(b"g1", 5)])
    ours.supersede([told(b"g1", 6)])
    ours.flush()
    assert producer.taken == [(id, b"\7"), (id, None)]
