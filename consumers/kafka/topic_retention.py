"""Whether a topic keeps what it was given: one that isn't compacted loses records that haven't changed for long."""

from __future__ import annotations

from sorbus.bus.cluster import KafkaConnection
from sorbus.bus.kafka import admin, kafka_errors
from sorbus.bus.topic_settings import settings_of
from sorbus.connector import BoundFlow
from sorbus.consumers.kafka.options import KafkaTarget
from sorbus.errors import SorbusError

_TIMEOUT = 30.0
_POLICY = "cleanup.policy"
_HOUR, _DAY = 3_600_000, 86_400_000


def retention_warnings(flow: BoundFlow) -> list[str]:
    """Why the flow's topic, if it is there, loses records; none where it keeps them. TransientError, AuthError."""
    options, connection = flow.options, flow.system.connection
    assert isinstance(options, KafkaTarget)
    assert isinstance(connection, KafkaConnection)
    client, topic = admin(connection.settings()), options.topic
    with kafka_errors(f"looking up topic {topic}"):
        if topic not in client.list_topics(timeout=_TIMEOUT).topics:
            return []
    try:
        config = settings_of(client, [topic])[topic]
    except SorbusError as error:  # not every provider tells, and the flow can do without
        return [f"{flow.flow.id}: whether topic {topic} keeps its records can't be seen: {error}"]
    limits = _limits(config)
    if not limits:
        return []
    return [
        f"{flow.flow.id}: topic {topic} loses records: it removes messages {limits} (`cleanup.policy`"
        f" {config.get(_POLICY)}), also the only one of a record that hasn't changed since. Set"
        f" `cleanup.policy=compact`, then `sorbus reconcile {flow.flow.id} --heal`, which writes again what is gone"
    ]


def _limits(config: dict[str, str]) -> str:
    """After how long, or from which size on, messages are removed whatever their key; "" where they aren't."""
    if "delete" not in config.get(_POLICY, ""):
        return ""
    lasts, holds = (_number(config.get(name, "")) for name in ("retention.ms", "retention.bytes"))
    after = f"{lasts / _DAY:,.0f} days" if lasts >= 2 * _DAY else f"{lasts / _HOUR:,.1f} hours"
    beyond = f"beyond {holds:,} bytes of a partition"
    return " and ".join([*([f"after {after}"] if lasts >= 0 else []), *([beyond] if holds >= 0 else [])])


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else -1
