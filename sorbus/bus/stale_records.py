"""What a producer reads from its own topics: records (for a TRUNCATE or a resnapshot) and dead letters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from sorbus.avro.decode import Undecodable
from sorbus.bus.kafka import all_partitions, bytes_of, read_to_end, topic_reader
from sorbus.bus.letters import open_letters
from sorbus.deadletter import DeadLetter
from sorbus.event import open_frame
from sorbus.settings import Settings


def stale_keys(settings: Settings, topic: str, version: int) -> Iterator[bytes]:
    """The ids of live records whose newest version on `topic` is below `version`, one partition at a time."""
    consumer = topic_reader(settings, f"sweep-{topic}")
    try:
        for partition in all_partitions(consumer, topic):
            live: dict[bytes, None] = {}
            for message in read_to_end(consumer, [partition]):
                key, value = bytes_of(message.key()), message.value()
                if value is None or _is_gone_or_new(bytes_of(value), version):
                    live.pop(key, None)
                else:
                    live[key] = None
            yield from live
    finally:
        consumer.close()


class OpenLetter(NamedTuple):
    """How often a record was tried, and when it first failed (microseconds since 1970)."""

    attempts: int
    first_at: int


def open_source_letters(settings: Settings, topics: Iterable[str], system: str) -> dict[str, dict[bytes, OpenLetter]]:
    """Records with an open dead letter of `system`'s producer on `topics`: data type -> id -> dead letter."""

    def record_of(letter: DeadLetter) -> tuple[str, bytes, OpenLetter] | None:
        if letter.flow or letter.system != system:
            return None
        return letter.data_type, letter.record_id, OpenLetter(letter.attempts, letter.first_at)

    found: dict[str, dict[bytes, OpenLetter]] = {}
    for data_type, record_id, letter in open_letters(settings, topics, f"letters-{system}", record_of).values():
        found.setdefault(data_type, {})[record_id] = letter
    return found


def _is_gone_or_new(frame: bytes, version: int) -> bool:
    try:
        head = open_frame(frame)
    except Undecodable:
        return True
    return head.deleted or head.version >= version
