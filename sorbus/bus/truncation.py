"""Whether a topic was cut off behind what was read of it, and filled up since, as by an unclean leader election.

Offsets say nothing of that: other events have them by now. But each leader of a partition has a number, its epoch
(KIP-101), and Kafka says where its events end (KIP-320). Kafka's client asks for partitions that are assigned with an
epoch, and not for those of a group that come one by one.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import NamedTuple

from confluent_kafka import KafkaError, Message, TopicPartition

from sorbus.bus.kafka import Partition, as_error, kafka_errors, offset_of, partition_of, topic_reader
from sorbus.bus.topic_facts import TopicFacts
from sorbus.errors import TransientError
from sorbus.settings import Settings

CUT_OFF = "{} was cut off behind what was read last, and filled up since (an unclean leader election)"
_PATIENCE = 20.0


class ReadUpTo(NamedTuple):
    """How far a partition was read: the offset behind an event, and the epoch of a leader that wrote it, or a later
    one.
    """

    offset: int
    epoch: int


def read_up_to(message: Message) -> ReadUpTo | None:
    """That a message was read; None where Kafka doesn't say which leader wrote it."""
    epoch = message.leader_epoch()
    return None if epoch is None or epoch < 0 else ReadUpTo(offset_of(message) + 1, epoch)


def cut_off(settings: Settings, facts: Mapping[str, TopicFacts], read: Mapping[Partition, ReadUpTo]) -> set[Partition]:
    """Those partitions that no longer hold the events which were read last. AuthError, TransientError.

    Only those are asked about that have had another leader since.
    """
    asked = [
        TopicPartition(*partition, at.offset, "", at.epoch)
        for partition, at in read.items()
        if at.offset > facts[partition[0]].begins[partition[1]]
        and facts[partition[0]].led_since(partition[1], at.epoch)
    ]
    if not asked:
        return set()
    stopping = {**settings.kafka_config, "auto.offset.reset": "error"}
    consumer = topic_reader(settings.model_copy(update={"kafka_config": stopping}), "truncation")
    left, found = {(part.topic, part.partition) for part in asked}, set()
    doing, deadline = "asking whether topics were cut off", time.monotonic() + _PATIENCE
    try:
        with kafka_errors(doing):
            consumer.assign(asked)
            while left:
                if time.monotonic() > deadline:
                    raise TransientError(f"{doing}: Kafka sent nothing for a while")
                for message in consumer.consume(100, 0.1):
                    failure = message.error()
                    if failure is not None and failure.code() == KafkaError._AUTO_OFFSET_RESET:
                        found.add(partition_of(message))
                    elif failure is not None and failure.code() != KafkaError._PARTITION_EOF:
                        raise as_error(failure, doing)
                    left.discard(partition_of(message))
    finally:
        consumer.close()
    return found
