"""What topics a map needs, and how those that are there differ."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from math import ceil
from types import MappingProxyType

import stamina
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
)

from sorbus.bus.inbox import with_inbox
from sorbus.bus.kafka import MAX_MESSAGE_BYTES, kafka_errors
from sorbus.bus.names import Names
from sorbus.bus.topic_facts import partition_counts
from sorbus.bus.topic_settings import COMPACTED, DAY, Overrides, overridden, settings_of
from sorbus.connector import Step
from sorbus.errors import TransientError
from sorbus.mapfile.model import Flow, Map
from sorbus.two_way.expand import KIND, proposals_of

_TIMEOUT = 30.0
_AWAY = int(COMPACTED["delete.retention.ms"])
"""Milliseconds that a flow may be away, in addition to how long its timing makes it wait."""
_STEP = 30 * DAY
# What happened within the last day can still be traced and replayed change by change.
_EVENTS = {**COMPACTED, "min.compaction.lag.ms": str(DAY)}
# What systems show is merged step by step: a delivery must not take the place of a change that it came over before both
# were read. The most that erasure allows.
_PROPOSALS = {**_EVENTS, "min.compaction.lag.ms": COMPACTED["max.compaction.lag.ms"]}
_POSITIONS = {**COMPACTED, "segment.ms": str(DAY // 24), "min.cleanable.dirty.ratio": "0.1"}
_REQUEUED = {
    "cleanup.policy": "delete",
    "max.message.bytes": str(MAX_MESSAGE_BYTES + 100_000),
}
# A producer that was away for longer finds by polling what these notices said.
_INBOX = {"cleanup.policy": "delete", "retention.ms": str(7 * DAY)}
# Nothing else holds these records: their sender has been told that they are safe.
_RECORDS = {
    "cleanup.policy": "delete",
    "retention.ms": str(30 * DAY),
    "max.message.bytes": str(MAX_MESSAGE_BYTES + 100_000),
}
# Reports come every few seconds, and only each process's last one counts.
_STATUS = {
    "cleanup.policy": "compact,delete",
    # By one clock, Kafka's: a process whose own is wrong would count as gone, or as alive when it is gone.
    "message.timestamp.type": "LogAppendTime",
    "retention.ms": str(7 * DAY),
    "segment.ms": str(600_000),
    "min.cleanable.dirty.ratio": "0.1",
}
# Only who runs when it is asked hears it: whoever starts later knows what to do without.
_REQUESTS = {"cleanup.policy": "delete", "retention.ms": str(DAY)}


# Few and small: schemas, needed for as long as any event that one of them wrote, and what flows were told last, and
# when they read last, needed for longer than any topic keeps deletes.
_KEPT = {"cleanup.policy": "compact", "max.message.bytes": str(MAX_MESSAGE_BYTES + 100_000)}


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as the map needs it; `is_keyed` when partitions decide what is in order with what.

    `may_differ`: the map says no number of partitions; one that is there keeps its own.
    """

    name: str
    partitions: int
    config: Mapping[str, str]
    is_keyed: bool = True
    may_differ: bool = False
    copies: int = -1
    """-1: as many as the cluster makes by default. Only of a topic that is made."""


def topics_of(company: Map, overrides: Overrides = MappingProxyType({})) -> list[Topic]:
    """Every topic that a map needs: events and dead letters per data type, requeue per flow, inboxes, and our own.

    `overrides`: settings by pattern of the name, such as *.dlq, where a provider refuses ours; None leaves one out.
    """
    return [_overridden(topic, overrides) for topic in _topics_of(company)]


def _overridden(topic: Topic, overrides: Overrides) -> Topic:
    config, copies = overridden(topic.name, topic.config, overrides)
    return replace(topic, config=config, copies=copies or topic.copies)


def _topics_of(company: Map) -> list[Topic]:
    names, waits = Names(company.topic_prefix), {flow.id: _waits(company, flow) for flow in company.flows if flow.runs}
    wanted = [Topic(names.positions, 1, _POSITIONS), Topic(names.requests, 1, _REQUESTS, is_keyed=False)]
    wanted.append(Topic(names.schemas, 1, _KEPT, is_keyed=False))
    wanted.append(Topic(names.status, 1, _STATUS, is_keyed=False))
    wanted.append(Topic(names.controls, 1, _KEPT, is_keyed=False))
    shown = _shown(company)
    for name, data_type in company.data_types.items():
        may_differ = data_type.partitions is None
        longest = max((waits[flow.id] for flow in company.flows if flow.runs and flow.data_type == name), default=0)
        config = {**(_PROPOSALS if name in shown else _EVENTS), "delete.retention.ms": str(_AWAY + longest)}
        wanted.append(Topic(names.topic(name), data_type.partitions or 1, config, may_differ=may_differ))
        wanted.append(Topic(names.dead_letters(name), 1, COMPACTED))
    for flow, wait in waits.items():
        requeued = {**_REQUEUED, "retention.ms": str(_AWAY + wait)}
        wanted.append(Topic(names.requeue(flow), 1, requeued, is_keyed=False))
    for system in with_inbox(company):
        config = _RECORDS if company.systems[system].kind == "webhook" else _INBOX
        wanted.append(Topic(names.inbox(system), 1, config, is_keyed=False, may_differ=True))
    return wanted


def _shown(company: Map) -> set[str]:
    """What the systems of two-way data types show."""
    merged = [name for name in company.data_types if (owner := company.systems.get(company.owner_of(name))) is not None
              and owner.kind == KIND]  # fmt: skip
    return {proposals_of(name, system) for name in merged for system in company.systems}


def _waits(company: Map, flow: Flow) -> int:
    """Milliseconds that a flow's timing lets events wait: none up to a week, else in steps that no holiday moves."""
    try:
        longest = 1000 * company.times(flow).timing.longest_pause(datetime.now(UTC))
    except ValueError:  # `map check` names it
        return 0
    return 0 if longest <= 7 * DAY else ceil(longest / _STEP) * _STEP


def plan_topics(admin: AdminClient, wanted: Sequence[Topic]) -> list[Step]:
    """What has to change in Kafka. AuthError, TransientError."""
    found = partition_counts(admin, [topic.name for topic in wanted])
    there = [topic for topic in wanted if topic.name in found]
    configs = settings_of(admin, [topic.name for topic in there])
    new = _NewTopics(admin, [topic for topic in wanted if topic.name not in found])
    steps = []
    for topic in wanted:
        if topic.name not in found:
            steps.append(new.step(topic))
            continue
        if step := _partitions(admin, topic, found[topic.name]):
            steps.append(step)
        if step := _config(admin, topic, configs[topic.name]):
            steps.append(step)
    return steps


class _NewTopics:
    """Topics that aren't there. The first step asks Kafka for all of them at once: each request takes it as long."""

    def __init__(self, admin: AdminClient, topics: Sequence[Topic]) -> None:
        self._admin, self._topics = admin, topics
        self._asked: dict[str, Future[None]] | None = None

    def step(self, topic: Topic) -> Step:
        """Makes one topic: what Kafka says of it is this step's outcome."""
        many = "1 partition" if topic.partitions == 1 else f"{topic.partitions} partitions"
        says = f"make it: {many}, {topic.config['cleanup.policy']}"
        return Step("kafka", f"topic {topic.name}", says, lambda: self._create(topic))

    def _create(self, topic: Topic) -> None:
        if self._asked is None:
            self._asked = self._ask(self._topics)
        # A step that is run again asks again.
        asked = self._asked.pop(topic.name, None) or self._ask([topic])[topic.name]
        _done([asked], f"making topic {topic.name}")
        _wait_for(self._admin, topic.name)

    def _ask(self, topics: Sequence[Topic]) -> dict[str, Future[None]]:
        new = [NewTopic(each.name, each.partitions, each.copies, config=dict(each.config)) for each in topics]
        return dict(self._admin.create_topics(new))  # a copy: the client looks its futures up in its own


@stamina.retry(on=TransientError, attempts=20, wait_initial=0.05, wait_max=1.0, wait_jitter=0, timeout=_TIMEOUT)
def _wait_for(admin: AdminClient, name: str) -> None:
    """Returns once the topic's partitions have leaders: brokers learn of a new topic a moment after it is made."""
    with kafka_errors(f"waiting for topic {name}"):
        found = admin.list_topics(name, timeout=_TIMEOUT).topics[name]
    if found.error is not None or any(part.leader < 0 for part in found.partitions.values()):
        raise TransientError(f"topic {name} is made, but its partitions have no leaders; look at the brokers")


def _partitions(admin: AdminClient, topic: Topic, have: int) -> Step | None:
    if have == topic.partitions or topic.may_differ:
        return None
    what, size = f"topic {topic.name}", f"it has {have} partitions, the map says {topic.partitions}"
    if have > topic.partitions:
        return Step("kafka", what, f"{size}; Kafka can't take any away: write {have} in the map")
    if topic.is_keyed:
        return Step(
            "kafka",
            what,
            f"{size}; with more partitions new events of a record would land beside its old ones, and the old stay for"
            " ever: keep the number, or give the map a new topic_prefix, `sorbus apply`, and let it snapshot again"
            " (links of applications are kept by prefix: `sorbus crosswalk export` before, `import` after that)",
        )

    def add() -> None:
        _done(
            admin.create_partitions([NewPartitions(topic.name, topic.partitions)]).values(),
            f"adding partitions to {topic.name}",
        )

    return Step("kafka", what, f"{size}: add them", add)


def _config(admin: AdminClient, topic: Topic, have: Mapping[str, str]) -> Step | None:
    changed = {name: value for name, value in topic.config.items() if have.get(name) != value}
    if not changed:
        return None

    def alter() -> None:
        entries = [
            ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in changed.items()
        ]
        resource = ConfigResource(ConfigResource.Type.TOPIC, topic.name, incremental_configs=entries)
        _done(admin.incremental_alter_configs([resource]).values(), f"setting up topic {topic.name}")

    said = ", ".join(f"{name}: {have.get(name, 'unset')} -> {value}" for name, value in changed.items())
    return Step("kafka", f"topic {topic.name}", said, alter)


def _done(futures: Iterable[object], doing: str) -> None:
    with kafka_errors(doing):
        for future in futures:
            future.result(_TIMEOUT)  # type: ignore[attr-defined]  # confluent_kafka leaves its futures untyped
