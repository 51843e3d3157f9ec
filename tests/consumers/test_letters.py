"""A dead letter that Kafka did not take is written again, before any offset moves."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import cast

import pytest
from confluent_kafka import KafkaError, Message, Producer

from sorbus.bus.letters import Letters
from sorbus.bus.names import Names
from sorbus.deadletter import LETTER
from sorbus.errors import PermanentError, TransientError
from sorbus.privacy.errors import rows_privacy
from tests.consumers.gadgets import Writer, flow_into, gadget

Report = Callable[[object, object], None]
ERROR = PermanentError("no", reason="value")


class Moody:
    """A producer that fails as it is told, then works; what it took is in `taken`."""

    def __init__(self, *moods: str) -> None:
        self.moods = deque(moods)
        self.taken: list[tuple[bytes, bytes | None]] = []
        self._waiting: list[tuple[bytes, bytes | None, Report]] = []

    def produce(
        self, topic: str, value: bytes | None, key: bytes, partition: int, *, headers: object, on_delivery: Report
    ) -> None:
        if self.moods and self.moods[0] == "full":
            self.moods.popleft()
            raise BufferError
        self._waiting.append((key, value, on_delivery))

    def poll(self, seconds: float) -> int:
        return 0

    def list_topics(self, topic: str, timeout: float) -> None:
        """It has its producer id."""

    def purge(self) -> None:
        self._waiting.clear()

    def flush(self, seconds: float) -> int:
        mood = self.moods.popleft() if self.moods else "fine"
        if mood == "silent":
            return len(self._waiting)
        for key, value, report in self._waiting:
            if mood == "fine":
                self.taken.append((key, value))
            report(KafkaError(KafkaError._MSG_TIMED_OUT) if mood == "broken" else None, None)
        self._waiting.clear()
        return 0


class Told:
    """A consumed message: a gadget's event of a version, or (None) something that can't be read."""

    def __init__(self, key: bytes, offset: int, version: int | None, topic: str, letter: bytes | None) -> None:
        self._key, self._offset, self._topic, self._letter = key, offset, topic, letter
        self._value = b"\7" if version is None else Writer().event(key.decode(), version, gadget("x"))[0]

    def key(self) -> bytes:
        return self._key

    def value(self) -> bytes:
        return self._value

    def topic(self) -> str:
        return self._topic

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self._offset

    def headers(self) -> list[tuple[str, bytes]]:
        return [(LETTER, self._letter)] if self._letter else []


def told(
    key: bytes, offset: int, version: int | None = None, topic: str = "gadget", letter: bytes | None = None
) -> Message:
    return cast("Message", Told(key, offset, version, topic, letter))


def requeued(key: bytes, version: int, letter: bytes | None = None) -> Message:
    return told(key, 0, version, "gadget-to-books.requeue", letter)


def letters(producer: Moody) -> Letters:
    flow = flow_into("postgresql://nowhere")
    return Letters(
        lambda: cast("Producer", producer),
        Names(),
        flow,
        rows_privacy(flow.schema, flow.mapping, lambda _: flow.schema),
    )


@pytest.mark.parametrize("mood", ["broken", "silent"])
def test_what_failed_is_written_by_the_next_flush(mood: str) -> None:
    producer = Moody(mood, mood)  # asked twice: a producer may still be waiting for its id
    ours = letters(producer)
    first, second = ours.write(told(b"g1", 4), ERROR).id, ours.write(told(b"g2", 5), ERROR).id
    with pytest.raises(TransientError, match="did not accept"):
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
    id = ours.write(told(b"g1", 4), ERROR).id.encode()
    ours.flush()
    ours.supersede([told(b"g1", 3), told(b"g1", 4), told(b"g2", 9)])
    ours.flush()
    assert producer.taken == [(id, b"\7")]
    ours.supersede([told(b"g1", 5)])
    ours.supersede([told(b"g1", 6)])
    ours.flush()
    assert producer.taken == [(id, b"\7"), (id, None)]


def test_a_newer_refused_event_closes_the_older_letter_of_its_record() -> None:
    producer = Moody()
    ours = letters(producer)
    first, other = ours.write(told(b"g1", 4, 1), ERROR).id.encode(), ours.write(told(b"g2", 5, 1), ERROR).id.encode()
    ours.flush()
    second = ours.write(told(b"g1", 6, 2), ERROR).id.encode()
    ours.flush()
    assert [key for key, _ in producer.taken] == [first, other, second, first]
    assert producer.taken[-1] == (first, None)


def test_unreadable_events_are_ordered_by_their_place() -> None:
    producer = Moody()
    ours = letters(producer)
    first = ours.write(told(b"g1", 4), ERROR).id.encode()
    ours.write(told(b"g1", 5), ERROR)
    ours.write(told(b"g1", 9, topic="another"), ERROR)
    ours.flush()
    assert [key for key, value in producer.taken if value is None] == [first]


def test_a_requeued_letter_that_is_refused_again_is_closed_by_the_newer_one() -> None:
    producer = Moody()
    ours = letters(producer)
    older = ours.write(told(b"g1", 4, 1), ERROR).id.encode()
    ours.close(older)  # it was requeued, and something newer was refused meanwhile
    newer = ours.write(told(b"g1", 5, 2), ERROR).id.encode()
    ours.write(requeued(b"g1", 1, older), ERROR)
    ours.flush()
    assert {key: value is None for key, value in producer.taken} == {older: True, newer: False}


def test_a_letter_sent_back_twice_stays_open_when_the_copy_that_was_delivered_is_refused() -> None:
    producer = Moody()
    ours = letters(producer)
    id = ours.write(told(b"g1", 4, 1), ERROR).id.encode()
    ours.flush()
    again = requeued(b"g1", 1, id)
    ours.write(again, ERROR)
    ours.close(id)  # the other copy, which was left out of the batch for this one
    ours.flush()
    assert producer.taken[-1] == (id, again.value())
    ours.close(id)
    ours.flush()
    assert producer.taken[-1] == (id, None), "what lands later still closes it"


@pytest.mark.parametrize(("version", "closes"), [(1, False), (2, True), (3, True)])
def test_what_has_landed_closes_letters_by_its_version_whatever_way_it_came(version: int, closes: bool) -> None:
    producer = Moody()
    ours = letters(producer)
    id = ours.write(told(b"g1", 4, 2), ERROR).id.encode()
    ours.flush()
    ours.supersede([requeued(b"g1", version)])
    ours.flush()
    assert ((id, None) in producer.taken) is closes


def test_letters_of_two_records_at_one_offset_of_a_topic_that_was_made_again_are_two() -> None:
    producer = Moody()
    ours = letters(producer)
    first = ours.write(told(b"g1", 4, 1), ERROR).id.encode()
    ours.flush()
    second = ours.write(told(b"g2", 4, 7), ERROR).id.encode()
    ours.supersede([told(b"g1", 5, 8)])
    ours.flush()
    assert first != second
    assert {key: value is None for key, value in producer.taken} == {first: True, second: False}


def test_an_event_that_comes_again_elsewhere_has_one_letter() -> None:
    producer = Moody()
    ours = letters(producer)
    first, again = ours.write(told(b"g1", 4, 1), ERROR), ours.write(told(b"g1", 9, 1), ERROR)
    assert (again.id, again.attempts, again.first_at) == (first.id, 2, first.first_at)
