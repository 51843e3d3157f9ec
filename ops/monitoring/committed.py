"""How far consumer groups are: their committed offsets, asked for without joining them.

By one consumer handle per group, not by the admin client: librdkafka 2.16's ends the process when a group's coordinator
has just moved or is just being made (librdkafka issue 5040).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from confluent_kafka import Consumer, TopicPartition

from sorbus.bus.closing import ClosingConsumer
from sorbus.bus.committed import CommittedPosition
from sorbus.bus.kafka import as_error, base_config, kafka_errors
from sorbus.ops.monitoring.offsets import Part
from sorbus.settings import Settings

_TIMEOUT = 15.0
_AT_ONCE = 8


class Committed:
    """Asks for committed offsets; keeps its connections between measurements."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._consumers: dict[str, Consumer] = {}
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="committed")

    def ask(self, wanted: Mapping[str, Sequence[Part]]) -> dict[str, dict[Part, CommittedPosition]]:
        """Each group's committed offsets in the partitions asked for; those never committed are left out.

        AuthError, TransientError.
        """
        for group in wanted.keys() - self._consumers.keys():
            self._consumers[group] = ClosingConsumer(
                {
                    "group.id": group,
                    "enable.auto.commit": False,
                    "log_level": 2,
                    **base_config(self._settings, "watch-committed"),
                }
            )
        answers = self._pool.map(self._ask, wanted.keys(), wanted.values())
        return dict(zip(wanted, answers, strict=True))

    def close(self) -> None:
        self._pool.shutdown()
        for consumer in self._consumers.values():
            consumer.close()
        self._consumers.clear()

    def _ask(self, group: str, parts: Sequence[Part]) -> dict[Part, CommittedPosition]:
        if not parts:
            return {}
        with kafka_errors(f"reading the offsets of group {group}"):
            found = self._consumers[group].committed([TopicPartition(*part) for part in parts], timeout=_TIMEOUT)
            for item in found:
                if item.error is not None:
                    raise as_error(item.error, f"reading the offsets of group {group}")
        return {
            (item.topic, item.partition): place for item in found if (place := CommittedPosition.of(item)) is not None
        }
