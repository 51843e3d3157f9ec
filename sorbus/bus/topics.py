"""The topics a map needs, their difference to what Kafka has, and their making."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)

from sorbus.bus.kafka import MAX_MESSAGE_BYTES, as_error, kafka_errors
from sorbus.bus.names import Names
from sorbus.connector import Step
from sorbus.map.model import Map

_WAIT = 15.0
_DAY = 86_400_000
_SIZE = {"max.message.bytes": str(MAX_MESSAGE_BYTES)}
# A delete's tombstone must outlive the longest a consumer may be away before its target is rebuilt by replay.
_DATA = {"cleanup.policy": "compact", "delete.retention.ms": str(7 * _DAY), "min.cleanable.dirty.ratio": "0.3"} | _SIZE
_LETTERS = {"cleanup.policy": "compact", "delete.retention.ms": str(_DAY)} | _SIZE
_POSITIONS = {"cleanup.policy": "compact", "segment.ms": str(_DAY // 24)}
_REQUEUE = {"cleanup.policy": "delete", "retention.ms": str(7 * _DAY)} | _SIZE


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as the map wants it."""

    name: str
    partitions: int
    config: Mapping[str, str]


def wanted_topics(company_map: Map) -> list[Topic]:
    """Every topic of a map: data types, their dead letters, requeues of flows, positions."""
    names = Names(company_map.topic_prefix)
    topics = [Topic(names.positions, 1, _POSITIONS)]
    for name, data_type in company_map.data_types.items():
        topics.append(Topic(names.topic(name), data_type.partitions, _DATA))
        topics.append(Topic(names.dead_letters(name), 1, _LETTERS))
    topics += [Topic(names.requeue(flow.id), 1, _REQUEUE) for flow in company_map.flows if flow.runs]
    return topics


def plan_topics(admin: AdminClient, topics: Sequence[Topic], *, replication: int = -1) -> list[Step]:
    """What has to change in Kafka. Topics are never made smaller; foreign settings are left alone.

    `replication` -1: the cluster's default.
    """
    with kafka_errors("looking up topics"):
        have = admin.list_topics(timeout=_WAIT).topics
    steps: list[Step] = []
    there = [topic for topic in topics if topic.name in have]
    for topic in topics:
        if topic.name not in have:
            what = f"{topic.partitions} partition{'s' * (topic.partitions != 1)}, {topic.config['cleanup.policy']}"
            steps.append(Step("kafka", f"topic {topic.name}", what, _create(admin, topic, replication)))
            continue
        count = len(have[topic.name].partitions)
        if count < topic.partitions:
            detail = f"{count} -> {topic.partitions}; records move to other partitions from their next change on"
            steps.append(Step("kafka", f"partitions of {topic.name}", detail, _grow(admin, topic)))
    for topic, config in zip(there, _configs(admin, there), strict=True):
        changed = {key: value for key, value in topic.config.items() if config.get(key) != value}
        if changed:
            detail = ", ".join(f"{key}: {config.get(key)} -> {value}" for key, value in sorted(changed.items()))
            steps.append(Step("kafka", f"settings of {topic.name}", detail, _configure(admin, topic.name, changed)))
    return steps


def _configs(admin: AdminClient, topics: Sequence[Topic]) -> list[dict[str, str]]:
    if not topics:
        return []
    resources = [ConfigResource(ResourceType.TOPIC, topic.name) for topic in topics]
    with kafka_errors("looking up topic settings"):
        futures = admin.describe_configs(resources, request_timeout=_WAIT)
        found = {
            resource.name: {name: str(entry.value) for name, entry in future.result(_WAIT).items()}
            for resource, future in futures.items()
        }
    return [found[topic.name] for topic in topics]


def _create(admin: AdminClient, topic: Topic, replication: int) -> Callable[[], None]:
    def run() -> None:
        new = NewTopic(topic.name, topic.partitions, replication, config=dict(topic.config))
        future = admin.create_topics([new], operation_timeout=_WAIT)[topic.name]
        try:
            future.result(_WAIT)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise as_error(error.args[0], f"making topic {topic.name}") from error

    return run


def _grow(admin: AdminClient, topic: Topic) -> Callable[[], None]:
    def run() -> None:
        with kafka_errors(f"adding partitions to {topic.name}"):
            new = NewPartitions(topic.name, topic.partitions)
            admin.create_partitions([new], operation_timeout=_WAIT)[topic.name].result(_WAIT)

    return run


def _configure(admin: AdminClient, name: str, changed: Mapping[str, str]) -> Callable[[], None]:
    def run() -> None:
        entries = [
            ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET) for key, value in changed.items()
        ]
        resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=entries)
        with kafka_errors(f"setting up topic {name}"):
            for future in admin.incremental_alter_configs([resource]).values():
                future.result(_WAIT)

    return run
