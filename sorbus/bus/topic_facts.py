"""Kafka's facts about a topic: its id (a recreated topic has another one) and its offsets."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Container, Iterable
from concurrent.futures import wait
from typing import NamedTuple
from weakref import WeakKeyDictionary

from confluent_kafka import KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AclOperation, AdminClient, ListOffsetsResultInfo, OffsetSpec

from sorbus.bus.kafka import kafka_errors
from sorbus.errors import TransientError

_TIMEOUT = 10.0
_AGAIN = 0.1
_FORGOTTEN = 60.0
"""Seconds after which topics that were asked about together are no longer asked about together."""
_FIRST: OffsetSpec = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
_LAST: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]
_DATED: OffsetSpec = OffsetSpec.for_timestamp(0)
_UNKNOWN = {KafkaError.UNKNOWN_TOPIC_OR_PART}
_UNLISTED = {
    *_UNKNOWN,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.TOPIC_EXCEPTION,  # no topic can have this name
}


_recent: WeakKeyDictionary[AdminClient, tuple[float, frozenset[str], dict[str, tuple[str, int]]]] = WeakKeyDictionary()
_recent_lock = threading.Lock()


class TopicFacts(NamedTuple):
    """`id` is Kafka's; `begins` and `ends` are each partition's log start offset and high watermark, `epochs` the
    number of its leader, as far as Kafka says it.
    """

    id: str
    begins: tuple[int, ...]
    ends: tuple[int, ...]
    epochs: tuple[int | None, ...] = ()

    @property
    def is_empty(self) -> bool:
        return self.begins == self.ends

    def led_since(self, partition: int, epoch: int) -> bool:
        """Whether a partition has another leader than the one with that number."""
        now = self.epochs[partition] if partition < len(self.epochs) else None
        return now is not None and now != epoch


def topic_ids(admin: AdminClient, topics: Iterable[str]) -> dict[str, tuple[str, int]]:
    """Topic -> its id and partition count; unknown topics are left out. AuthError, TransientError."""
    return _described(admin, topics, _UNKNOWN)


def partition_counts(admin: AdminClient, topics: Iterable[str]) -> dict[str, int]:
    """`listed_topics` without ids."""
    return {topic: count for topic, (_, count) in listed_topics(admin, topics).items()}


def listed_topics(admin: AdminClient, topics: Iterable[str]) -> dict[str, tuple[str, int]]:
    """Topic -> its id and partition count, of those that a list of all would show. AuthError, TransientError.

    Kafka isn't asked for that list: it may hold thousands of other people's topics.
    """
    names = list(topics)
    if not names:
        return {}
    with kafka_errors("listing topics"):
        admin.list_topics(names[0], timeout=_TIMEOUT)  # it says why Kafka can't be asked, which describing doesn't
    return _described(admin, names, _UNLISTED)


def _described(admin: AdminClient, topics: Iterable[str], left_out: Container[int]) -> dict[str, tuple[str, int]]:
    names = list(dict.fromkeys(topics))
    if not names:
        return {}
    found = {}
    with kafka_errors("describing topics"):
        asked = admin.describe_topics(TopicCollection(names), request_timeout=_TIMEOUT)
        wait(asked.values(), _TIMEOUT)
        for name, future in asked.items():
            with kafka_errors(f"describing topic {name}"):
                try:
                    described = future.result(0)
                except KafkaException as error:
                    if error.args[0].code() in left_out:
                        continue
                    raise
            found[name] = str(described.topic_id), len(described.partitions)
    return found


def denied(admin: AdminClient, topics: Iterable[str], needs: Collection[AclOperation]) -> dict[str, list[str]]:
    """Topic -> the rights among `needs` that this login lacks on it, by name; empty where Kafka doesn't say.

    Of topics that are there. TransientError.
    """
    names, found = list(dict.fromkeys(topics)), {}
    if not names:
        return {}
    with kafka_errors("asking which rights there are on topics"):
        asked = admin.describe_topics(
            TopicCollection(names), include_authorized_operations=True, request_timeout=_TIMEOUT
        )
        wait(asked.values(), _TIMEOUT)
        for name, future in asked.items():
            try:
                allowed = future.result(0).authorized_operations
            except KafkaException as error:
                if error.args[0].code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                    found[name] = [AclOperation.DESCRIBE.name]
                continue
            if allowed and (lacking := [each.name for each in needs if each not in allowed]):
                found[name] = lacking
    return found


def recent_topic_ids(admin: AdminClient, topics: Iterable[str], age: float) -> dict[str, tuple[str, int]]:
    """As `topic_ids`, at most `age` seconds old: what flows of one process ask again and again is asked once."""
    now, wanted = time.monotonic(), frozenset(topics)
    with _recent_lock:
        asked_at, asked, found = _recent.get(admin, (now - age, frozenset[str](), {}))
    if not wanted <= asked or now - asked_at >= age:
        asked = wanted | asked if now - asked_at < _FORGOTTEN else wanted
        found = topic_ids(admin, asked)
        with _recent_lock:
            _recent[admin] = now, asked, found
    return {topic: found[topic] for topic in wanted if topic in found}


def topic_facts(admin: AdminClient, topics: Iterable[str]) -> dict[str, TopicFacts]:
    """Topic -> its facts; unknown topics are left out. TransientError, also while partitions have no leader."""
    ids, until = topic_ids(admin, topics), time.monotonic() + _TIMEOUT
    while True:
        parts = [(name, number) for name, (_, count) in ids.items() for number in range(count)]
        try:
            begins, ends = _offsets(admin, parts, _FIRST), _offsets(admin, parts, _LAST)
        except _GoneError as gone:  # deleted since, or made so lately that not every broker knows it
            if time.monotonic() > until:
                raise TransientError(str(gone)) from gone
            time.sleep(_AGAIN)
            ids = topic_ids(admin, ids)
            continue
        return {
            name: TopicFacts(
                id,
                tuple(begins[name, number].offset for number in range(count)),
                tuple(ends[name, number].offset for number in range(count)),
                tuple(ends[name, number].leader_epoch for number in range(count)),
            )
            for name, (id, count) in ids.items()
        }


class _GoneError(Exception):
    """A topic that was described isn't there when its offsets are asked for."""


def _offsets(
    admin: AdminClient, parts: list[tuple[str, int]], spec: OffsetSpec
) -> dict[tuple[str, int], ListOffsetsResultInfo]:
    if not parts:
        return {}
    doing = "reading where topics begin and end"
    with kafka_errors(doing):
        asked = admin.list_offsets({TopicPartition(*part): spec for part in parts}, request_timeout=_TIMEOUT)
        wait(asked.values(), _TIMEOUT)
        try:
            return {(part.topic, part.partition): future.result(0) for part, future in asked.items()}
        except KafkaException as error:
            if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise _GoneError(f"{doing}: {error.args[0].str()}") from error
            raise


def first_written(admin: AdminClient, topic: str, partitions: int) -> float | None:
    """When the oldest message was written that a topic holds first in a partition, in seconds since 1970; None: it
    holds none. AuthError, TransientError.
    """
    with kafka_errors(f"asking what {topic} holds first"):
        parts = {TopicPartition(topic, number): _DATED for number in range(partitions)}
        asked = admin.list_offsets(parts, request_timeout=_TIMEOUT)
        wait(asked.values(), _TIMEOUT)
        found = [future.result(0) for future in asked.values()]
    return min((one.timestamp / 1000 for one in found if one.offset >= 0), default=None)
