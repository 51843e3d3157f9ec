"""A failure between messages costs none of them: Kafka's client doesn't give them again."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from confluent_kafka import KafkaError, Message, TopicPartition

from sorbus.bus import topic_reader as module
from sorbus.bus.topic_reader import TopicReader
from sorbus.errors import LostPosition, SorbusError, TransientError
from sorbus.settings import Settings

FAILURES = {KafkaError.UNKNOWN_TOPIC_OR_PART: TransientError, KafkaError._AUTO_OFFSET_RESET: LostPosition}
EVERYTHING = [(0, 0), (0, 1), (1, 0), (1, 1)]


class ScriptedClient:
    """Gives what there is, once."""

    def __init__(self, messages: Sequence[Message]) -> None:
        self.left = list(messages)

    def assign(self, parts: list[TopicPartition]) -> None:
        """It reads everything anyway."""

    def consume(self, count: int, wait: float) -> list[Message]:
        found, self.left = self.left[:count], self.left[count:]
        return found

    def close(self) -> None: ...


@pytest.mark.parametrize("place", range(5))
@pytest.mark.parametrize("code", FAILURES)
def test_what_comes_beside_a_failure_is_read(monkeypatch: pytest.MonkeyPatch, code: int, place: int) -> None:
    messages = [Message(topic="t", partition=part, offset=at, key=b"k", value=b"v") for part, at in EVERYTHING]
    messages.insert(place, Message(topic="t", partition=0, error=KafkaError(code)))
    monkeypatch.setattr(module, "topic_reader", lambda *_, **__: ScriptedClient(messages))
    reader = TopicReader(Settings(), "test", {"t": [0, 0]})
    found: list[tuple[int | None, int | None]] = []
    failures: list[SorbusError] = []
    for _ in range(4):
        try:
            found += [(message.partition(), message.offset()) for message in reader.messages(0.0)]
        except SorbusError as error:
            failures.append(error)
    assert found == EVERYTHING
    assert [type(one) for one in failures] == [FAILURES[code]]
    assert not reader.is_at_end
