"""What `sorbus apply` makes for a flow into a topic: the topic."""

from __future__ import annotations

from confluent_kafka.admin import NewTopic

from sorbus.bus.cluster import KafkaConnection
from sorbus.bus.kafka import admin, kafka_errors
from sorbus.bus.names import Names
from sorbus.bus.topic_facts import partition_counts, topic_ids
from sorbus.bus.topic_settings import COMPACTED, overridden
from sorbus.connector import BoundFlow, Step
from sorbus.consumers.kafka.columns import Columns
from sorbus.consumers.kafka.options import KafkaTarget
from sorbus.consumers.kafka.topic_identity import TopicIdentity
from sorbus.consumers.written_versions import WrittenVersions
from sorbus.errors import MapError, TransientError
from sorbus.settings import Settings
from sorbus.state import State, plan_state

_TIMEOUT = 30.0


def require_registry(flow: BoundFlow) -> None:
    """MapError where Avro has no registry, or the topic is one of Sorbus's own."""
    options, connection = flow.options, flow.system.connection
    assert isinstance(options, KafkaTarget)
    assert isinstance(connection, KafkaConnection)
    settings = connection.settings()
    faults = []
    if options.encoding == "avro" and not settings.registry:
        faults.append(
            flow.finding(
                "no-registry", "`encoding: avro` needs a schema registry", "name it as `registry:` of the connection"
            )
        )
    if settings.kafka == Settings().kafka and _is_ours(flow, options.topic):
        faults.append(
            flow.finding("own-topic", f"{options.topic} is a topic that Sorbus itself writes", "take another topic")
        )
    if faults:
        raise MapError(faults)


def plan_topic(flow: BoundFlow) -> list[Step]:
    """The topic where it isn't there. MapError, TransientError, AuthError."""
    options, connection = flow.options, flow.system.connection
    assert isinstance(options, KafkaTarget)
    assert isinstance(connection, KafkaConnection)
    require_registry(flow)
    Columns(flow)
    settings = connection.settings()
    client = admin(settings)
    if partition_counts(client, [options.topic]):
        return _accept(flow, TopicIdentity(*topic_ids(client, [options.topic])[options.topic]))

    def create() -> None:
        config, copies = overridden(options.topic, COMPACTED, settings.topic_config)
        topic = NewTopic(options.topic, options.partitions, copies or -1, config=config)
        with kafka_errors(f"making topic {options.topic}"):
            client.create_topics([topic])[options.topic].result(_TIMEOUT)

    many = "1 partition" if options.partitions == 1 else f"{options.partitions} partitions"
    return [Step(flow.system.name, f"topic {options.topic}", f"make it: {many}, compact", create)]


def versions_of(flow: BoundFlow) -> WrittenVersions:
    """What was written to the flow's topic."""
    options = flow.options
    assert isinstance(options, KafkaTarget)
    state = State.of(flow.system.topic_prefix)
    return WrittenVersions(state, flow.system.name, options.topic, flow.flow.data_type)


def require_same_topic(flow: BoundFlow, versions: WrittenVersions, now: TopicIdentity) -> None:
    """TransientError where the topic isn't the one that was written to, or would be written otherwise."""
    known = versions.identity()
    if known is not None:
        before = TopicIdentity.read(known)
        if now.id != before.id:
            raise TransientError(_made_again(flow))
        if why := before.why_other(now):
            raise TransientError(_written_otherwise(flow, why))
    if known != now.text():
        versions.keep_identity(now.text(), before=known)


def _made_again(flow: BoundFlow) -> str:
    options = flow.options
    assert isinstance(options, KafkaTarget)
    return (
        f"topic {options.topic} was deleted and made again: what had been written there is gone. `sorbus apply` accepts"
        f" it; then `sorbus replay {flow.flow.id}` writes every record"
    )


def _written_otherwise(flow: BoundFlow, why: str) -> str:
    options = flow.options
    assert isinstance(options, KafkaTarget)
    return (
        f"topic {options.topic}: {why}. Each record would be there twice, and no delete would reach what was written"
        " before. Take back what was changed; or take another `topic:`, or delete this one, then `sorbus apply` and"
        f" `sorbus replay {flow.flow.id}`, which writes every record"
    )


def _accept(flow: BoundFlow, now: TopicIdentity) -> list[Step]:
    """Where the topic was made again: to begin with nothing written."""
    if plan_state(Settings().database, flow.system.topic_prefix):
        return []  # nothing was written yet
    versions = versions_of(flow)
    known = versions.identity()
    if known is None:
        return []
    before = TopicIdentity.read(known)
    if before.id == now.id:
        why = before.why_other(now)
        return [Step(flow.system.name, "its topic", _written_otherwise(flow, why))] if why else []

    def accept() -> None:
        versions.forget()
        versions.keep_identity(now.text())

    return [Step(flow.system.name, "its topic", _made_again(flow), accept)]


def place_of(flow: BoundFlow) -> str:
    """The topic, and its cluster where that isn't Sorbus's own."""
    options, connection = flow.options, flow.system.connection
    assert isinstance(options, KafkaTarget)
    assert isinstance(connection, KafkaConnection)
    servers = connection.servers if connection.servers != Settings().kafka else ""
    return f"topic {options.topic}" + (f" of {servers}" if servers else "")


def _is_ours(flow: BoundFlow, topic: str) -> bool:
    """Whether the topic is a data type's, or one that its processes use."""
    names = Names(flow.system.topic_prefix)
    bare = topic.removeprefix(flow.system.topic_prefix)
    own = {names.positions, names.status, names.requests, names.schemas, names.controls}
    return (
        topic in own
        or bare.endswith((".dlq", ".requeue", ".inbox"))
        or topic in {names.topic(flow.flow.data_type), *(names.topic(one) for one in flow.resources)}
    )
