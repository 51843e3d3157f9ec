"""What a producer reads from its own topics: records (for a TRUNCATE or a resnapshot) and dead letters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from sorbus.avro.decode import Undecodable
from sorbus.bus.kafka import all_partitions, bytes_of, read_to_end, topic_reader
from sorbus.bus.letters import open_letters
from sorbus.deadletter import DeadLetter
from sorbus.event import open_frame
from sorbus.settings import Settings


def stale_keys(settings: Settings, topic: str, version: int, ends: Sequence[int]) -> Iterator[bytes]:
    """The ids of live records whose newest version on `topic` is below `version`, one partition at a time.

    `ends`: where its partitions end by now. What was committed just before may have no markers yet, and isn't shown
    until then: without it a record that is there would pass for one that isn't. TransientError.
    """
    through = {(topic, number): end for number, end in enumerate(ends)}
    consumer = topic_reader(settings, f"sweep-{topic}")
    try:
        for partition in all_partitions(consumer, topic):
            live: dict[bytes, None] = {}
            for message in read_to_end(consumer, [partition], through=through):
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


class SourceLetters(NamedTuple):
    """Open dead letters of producers. `own`: data type -> record's id -> letter; `former`: (data type, letter's key).

    `former` are those of systems that owned a data type before, whose records nobody publishes any more.
    """

    own: dict[str, dict[bytes, OpenLetter]]
    former: list[tuple[str, bytes]]


def open_source_letters(settings: Settings, topics: Iterable[str], system: str) -> SourceLetters:
    """The open dead letters of producers on `topics`, which are all owned by `system`."""

    def record_of(letter: DeadLetter) -> tuple[str, str, bytes, OpenLetter] | None:
        if letter.flow:
            return None
        return letter.system, letter.data_type, letter.record_id, OpenLetter(letter.attempts, letter.first_at)

    found = SourceLetters({}, [])
    for key, (by, data_type, id, letter) in open_letters(settings, topics, f"letters-{system}", record_of).items():
        if by == system:
            found.own.setdefault(data_type, {})[id] = letter
        else:
            found.former.append((data_type, key))
    return found


def _is_gone_or_new(frame: bytes, version: int) -> bool:
    try:
        head = open_frame(frame)
    except Undecodable:
        return True
    return head.deleted or head.version >= version
