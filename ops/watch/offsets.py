"""What Kafka's admin API knows of topics and groups, asked for in few requests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, wait
from concurrent.futures import TimeoutError as NoAnswer
from dataclasses import dataclass
from typing import TypeVar

import stamina
from confluent_kafka import (
    ConsumerGroupState,
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec

from sorbus.bus.kafka import kafka_errors
from sorbus.errors import TransientError

Part = tuple[str, int]
"""A topic's partition: (topic, number)."""

_TIMEOUT = 15.0
_FIRST: OffsetSpec = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
_LAST: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]
_NEWEST: OffsetSpec = OffsetSpec.max_timestamp()  # type: ignore[no-untyped-call]
_NO_LEADER = {KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE, KafkaError.UNKNOWN_TOPIC_OR_PART}
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Group:
    """A consumer group: its state in Kafka's words (lower case), how many belong to it, and how far it is."""

    state: str
    members: int
    committed: Mapping[Part, int]


def partitions_of(admin: AdminClient, topics: Iterable[str]) -> dict[str, list[Part]]:
    """The partitions of those `topics` that exist."""
    with kafka_errors("listing topics"):
        found = admin.list_topics(timeout=_TIMEOUT).topics
    return {
        topic: [(topic, number) for number in sorted(found[topic].partitions)]
        for topic in topics
        if topic in found and found[topic].error is None
    }


def ends(admin: AdminClient, parts: Sequence[Part]) -> dict[Part, int]:
    """Behind the last committed record of each partition."""
    return {part: offset for part, (offset, _) in _offsets(admin, parts, _LAST).items()}


def begins(admin: AdminClient, parts: Sequence[Part]) -> dict[Part, int]:
    """The first offset each partition still has."""
    return {part: offset for part, (offset, _) in _offsets(admin, parts, _FIRST).items()}


def newest(admin: AdminClient, parts: Sequence[Part]) -> dict[Part, float]:
    """When each partition's newest message was written, in seconds since 1970; partitions without one are left out."""
    found = _offsets(admin, parts, _NEWEST)
    return {part: stamp / 1000 for part, (_, stamp) in found.items() if stamp > 0}


def groups(admin: AdminClient, names: Sequence[str]) -> dict[str, Group]:
    """Each group's state and committed offsets; one nobody has ever joined is `dead`, with no offsets."""
    if not names:
        return {}
    with kafka_errors("describing consumer groups"):
        described = admin.describe_consumer_groups(list(names), request_timeout=_TIMEOUT)
        # The API takes one group per request; all are under way before the first answer is waited for.
        offsets = {
            name: admin.list_consumer_group_offsets(
                [ConsumerGroupTopicPartitions(name)], request_timeout=_TIMEOUT, require_stable=False
            )[name]
            for name in names
        }
    wait([*described.values(), *offsets.values()], _TIMEOUT)
    found = {}
    for name in names:
        answer = _known(described[name], f"describing group {name}")
        committed = _known(offsets[name], f"reading the offsets of group {name}")
        state = ConsumerGroupState.DEAD if answer is None else answer.state
        found[name] = Group(
            state.name.lower(),
            0 if answer is None else len(answer.members),
            {} if committed is None else _by_part(committed.topic_partitions),
        )
    return found


def _leader_moves(error: Exception) -> bool:
    """Whether asking again shortly is all it takes: right after a topic is made, or a broker has gone."""
    cause = error.__cause__
    return isinstance(cause, KafkaException) and cause.args[0].code() in _NO_LEADER


@stamina.retry(on=_leader_moves, attempts=6, wait_initial=0.1, wait_max=1.0)
def _offsets(admin: AdminClient, parts: Sequence[Part], spec: OffsetSpec) -> dict[Part, tuple[int, int]]:
    if not parts:
        return {}
    with kafka_errors("reading the ends of topics"):
        asked = admin.list_offsets(
            {TopicPartition(*part): spec for part in parts},
            isolation_level=IsolationLevel.READ_COMMITTED,
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
        try:
            return future.result(_TIMEOUT)
        except NoAnswer as error:
            raise TransientError(f"{doing}: no answer from Kafka within {_TIMEOUT:.0f} s") from error


def _known(future: Future[_T], doing: str) -> _T | None:
    """As `_answer`, but None for a group that does not exist."""
    try:
        return _answer(future, doing)
    except TransientError as error:
        cause = error.__cause__
        if isinstance(cause, KafkaException) and cause.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
            return None
        raise


def _by_part(partitions: Iterable[TopicPartition]) -> dict[Part, int]:
    return {(item.topic, item.partition): item.offset for item in partitions if item.offset >= 0}
