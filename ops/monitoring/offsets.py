"""What Kafka's admin API knows of topics and groups, asked for in few requests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import TypeVar

import stamina
from confluent_kafka import (
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec

from sorbus.bus.kafka import kafka_errors
from sorbus.bus.topic_facts import partition_counts
from sorbus.errors import TransientError

Part = tuple[str, int]
"""A topic's partition: (topic, number)."""

_TIMEOUT = 10.0
_FIRST: OffsetSpec = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
_LAST: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]
_NEWEST: OffsetSpec = OffsetSpec.max_timestamp()  # type: ignore[no-untyped-call]
_SETTLING = {
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.UNKNOWN_LEADER_EPOCH,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
}
_T = TypeVar("_T")


def _is_settling(error: Exception) -> bool:
    """Whether asking again shortly is all it takes: right after a topic is made, or a broker has come or gone."""
    cause = error.__cause__
    return isinstance(cause, KafkaException) and cause.args[0].code() in _SETTLING


@dataclass(frozen=True, slots=True)
class ConsumerGroup:
    """A consumer group: its state in Kafka's words (lower case), and how many belong to it."""

    state: str
    members: int


def partitions_of(admin: AdminClient, topics: Iterable[str]) -> dict[str, list[Part]]:
    """The partitions of those `topics` that exist."""
    found = partition_counts(admin, topics)
    return {topic: [(topic, number) for number in range(count)] for topic, count in found.items()}


def ends(admin: AdminClient, parts: Sequence[Part]) -> dict[Part, int]:
    """Behind the last committed record of each partition."""
    return {part: offset for part, (offset, _) in _offsets(admin, parts, _LAST).items()}


def log_ends(admin: AdminClient, parts: Sequence[Part]) -> dict[Part, int]:
    """Behind the last record of each partition, committed or not."""
    return {
        part: offset for part, (offset, _) in _offsets(admin, parts, _LAST, IsolationLevel.READ_UNCOMMITTED).items()
    }


def begins(admin: AdminClient, parts: Sequence[Part]) -> dict[Part, int]:
    """The first offset each partition still has."""
    return {part: offset for part, (offset, _) in _offsets(admin, parts, _FIRST).items()}


def newest(admin: AdminClient, parts: Sequence[Part]) -> dict[Part, float]:
    """When each partition's newest message was written, in seconds since 1970; partitions without one are left out."""
    found = _offsets(admin, parts, _NEWEST)
    return {part: stamp / 1000 for part, (_, stamp) in found.items() if stamp > 0}


def first_since(admin: AdminClient, parts: Sequence[Part], moment: float) -> dict[Part, int]:
    """The first offset whose message was written at `moment` (seconds since 1970) or later; -1 where none was.

    Messages of open transactions count.
    """
    spec = OffsetSpec.for_timestamp(int(1000 * moment))
    found = _offsets(admin, parts, spec, IsolationLevel.READ_UNCOMMITTED)
    return {part: offset for part, (offset, _) in found.items()}


@stamina.retry(on=_is_settling, attempts=10, wait_initial=0.1, wait_max=1.0)
def groups(admin: AdminClient, names: Sequence[str]) -> dict[str, ConsumerGroup]:
    """Each group's state and size; one that nobody has ever joined is `dead`."""
    if not names:
        return {}
    with kafka_errors("describing consumer groups"):
        described = admin.describe_consumer_groups(list(names), request_timeout=_TIMEOUT)
    wait(described.values(), _TIMEOUT)
    found = {}
    for name in names:
        answer = _known(described[name], f"describing group {name}")
        found[name] = (
            ConsumerGroup("dead", 0)
            if answer is None
            else ConsumerGroup(answer.state.name.lower(), len(answer.members))
        )
    return found


@stamina.retry(on=_is_settling, attempts=10, wait_initial=0.1, wait_max=1.0)
def _offsets(
    admin: AdminClient,
    parts: Sequence[Part],
    spec: OffsetSpec,
    isolation: IsolationLevel = IsolationLevel.READ_COMMITTED,
) -> dict[Part, tuple[int, int]]:
    if not parts:
        return {}
    with kafka_errors("reading the ends of topics"):
        asked = admin.list_offsets(
            {TopicPartition(*part): spec for part in parts},
            isolation_level=isolation,
            request_timeout=_TIMEOUT,
        )
    # Waits for all of them: an answer that comes after the client is gone would end the process.
    wait(asked.values(), _TIMEOUT)
    found = {}
    for partition, future in asked.items():
        result = _answer(future, f"reading the end of {partition.topic}")
        found[partition.topic, partition.partition] = (result.offset, result.timestamp)
    return found


def _answer(future: Future[_T], doing: str) -> _T:
    with kafka_errors(doing):
        return future.result(_TIMEOUT)


def _known(future: Future[_T], doing: str) -> _T | None:
    """As `_answer`, but None for a group that does not exist."""
    try:
        return _answer(future, doing)
    except TransientError as error:
        cause = error.__cause__
        if isinstance(cause, KafkaException) and cause.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
            return None
        raise
