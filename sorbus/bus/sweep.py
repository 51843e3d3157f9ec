"""Which records of a data type are on its topic, and in what version: for a TRUNCATE and at the end of a re-copy."""

from __future__ import annotations

from collections.abc import Iterator

from sorbus.avro.decode import Undecodable
from sorbus.bus.kafka import all_partitions, read_to_end, topic_reader
from sorbus.event import open_frame
from sorbus.settings import Settings


def records_below(settings: Settings, topic: str, version: int) -> Iterator[bytes]:
    """The ids of live records whose newest version on `topic` is below `version`, one partition's at a time."""
    consumer = topic_reader(settings, f"sweep-{topic}")
    try:
        for partition in all_partitions(consumer, topic):
            live: dict[bytes, None] = {}
            for message in read_to_end(consumer, [partition]):
                key, value = message.key(), message.value()
                if key is None:
                    continue
                if value is None or _is_gone_or_new(value, version):
                    live.pop(key, None)
                else:
                    live[key] = None
            yield from live
    finally:
        consumer.close()


def _is_gone_or_new(frame: bytes, version: int) -> bool:
    try:
        head = open_frame(frame)
    except Undecodable:
        return True
    return head.deleted or head.version >= version
