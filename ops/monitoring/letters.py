"""How many dead letters are open, by reading their topics on from where the last count ended.

The topics are compacted: the key is a letter's id, the newest message of a key says whether it is open (a value) or
closed (none).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Collection, Mapping
from typing import NamedTuple

from confluent_kafka import OFFSET_BEGINNING, KafkaError, Message, TopicPartition

from sorbus.bus.closing import TopicConsumer
from sorbus.bus.kafka import as_error, base_config, kafka_errors
from sorbus.errors import TransientError
from sorbus.ops.monitoring.offsets import Part
from sorbus.settings import Settings

FLOW_HEADER, FIRST_HEADER = "sorbus.flow", "sorbus.first_at"


class Open(NamedTuple):
    """Open letters: how many, and when the oldest was first written (seconds since 1970)."""

    letters: int
    oldest: float


class OpenLetters:
    """Open dead letters by flow and topic; one connection and one small entry per open letter."""

    def __init__(self, settings: Settings, *, patience: float = 30.0) -> None:
        self._consumer = TopicConsumer(
            {
                "group.id": "sorbus-watch-letters",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 500,
                "queued.max.messages.kbytes": 4096,
                "log_level": 2,
                **base_config(settings, "watch-letters"),
            }
        )
        self._patience = patience
        self._open: dict[tuple[str, bytes], tuple[str, float]] = {}
        self._reached: dict[Part, int] = {}
        self._ids: dict[str, str] = {}
        """Topic -> the id of the one that was read."""

    def count(self, ends: Mapping[Part, int], ids: Mapping[str, str]) -> dict[tuple[str, str], Open]:
        """Open letters by (topic, flow), once everything before `ends` is read; flow "" is the source's side.

        `ids`: topic -> its id in Kafka. TransientError when Kafka does not send what it says it has.
        """
        with kafka_errors("reading dead letters"):
            self._forget({topic for topic, id in self._ids.items() if ids.get(topic) != id})
            self._ids = dict(ids)
            new = [part for part in ends if part not in self._reached]
            if new:
                self._consumer.incremental_assign([TopicPartition(*part, OFFSET_BEGINNING) for part in new])
                self._reached.update(dict.fromkeys(new, 0))
            self._read_to(ends)
        found: dict[tuple[str, str], Open] = {}
        for (topic, _), (flow, first) in self._open.items():
            known = found.get((topic, flow))
            found[topic, flow] = Open(known.letters + 1, min(known.oldest, first)) if known else Open(1, first)
        return found

    def close(self) -> None:
        self._consumer.close()

    def _forget(self, gone: Collection[str]) -> None:
        """What was read of topics that were deleted, or deleted and made again: their offsets begin at 0 again."""
        parts = [part for part in self._reached if part[0] in gone]
        if parts:
            self._consumer.incremental_unassign([TopicPartition(*part) for part in parts])
        for part in parts:
            del self._reached[part]
        self._open = {key: letter for key, letter in self._open.items() if key[0] not in gone} if gone else self._open

    def _read_to(self, ends: Mapping[Part, int]) -> None:
        deadline = time.monotonic() + self._patience
        while behind := [part for part, end in ends.items() if self._reached[part] < end]:
            for message in self._consumer.consume(2000, 0.5):
                failure, topic = message.error(), message.topic() or ""
                part = topic, message.partition() or 0
                if part not in self._reached:
                    continue  # of a topic that is gone
                offset = message.offset() or 0
                if failure is None:
                    self._note(topic, message)
                    self._reached[part] = offset + 1
                elif failure.code() == KafkaError._PARTITION_EOF:
                    self._reached[part] = max(self._reached[part], offset)
                else:
                    raise as_error(failure, f"reading dead letters of {topic}")
            if time.monotonic() > deadline:
                raise TransientError(f"reading dead letters: {behind[0][0]} has more, but Kafka does not send it")

    def _note(self, topic: str, message: Message) -> None:
        key = topic, message.key() or b""
        if message.value() is None:
            self._open.pop(key, None)
        else:
            headers = dict(message.headers() or [])
            first = _text(headers.get(FIRST_HEADER))
            written = int(first) / 1e6 if first.isdecimal() else message.timestamp()[1] / 1e3
            self._open[key] = sys.intern(_text(headers.get(FLOW_HEADER))), written


def _text(header: object) -> str:
    return header.decode("utf-8", "replace") if isinstance(header, bytes) else ""
