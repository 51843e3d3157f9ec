"""Settings of topics that keep the last state of each record, as Sorbus makes them and as a provider takes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase

from confluent_kafka.admin import AdminClient, ConfigResource

from sorbus.bus.kafka import MAX_MESSAGE_BYTES, kafka_errors
from sorbus.settings import COPIES

Overrides = Mapping[str, Mapping[str, str | None]]
"""Settings by pattern of the topic's name; None leaves one out."""
DAY = 24 * 3600 * 1000
"""In milliseconds."""
COMPACTED = {
    "cleanup.policy": "compact",
    "max.message.bytes": str(MAX_MESSAGE_BYTES + 100_000),
    # A consumer that was away for less than this still learns of every delete.
    "delete.retention.ms": str(30 * DAY),
    # The active segment is never compacted; a day bounds how long superseded states stay.
    "segment.ms": str(DAY),
    # What people asked to have erased is not kept among superseded states for longer (KIP-354).
    "max.compaction.lag.ms": str(7 * DAY),
}
_TIMEOUT = 30.0
_NO_LIMIT = 2**62


def overridden(name: str, settings: Mapping[str, str], overrides: Overrides) -> tuple[dict[str, str], int | None]:
    """The topic's settings as the operator wants them, and how many copies; None: as the cluster makes them."""
    config: dict[str, str | None] = dict(settings)
    for pattern, more in overrides.items():
        if fnmatchcase(name, pattern):
            config |= more
    copies = config.pop(COPIES, None)
    return {name: value for name, value in config.items() if value is not None}, int(copies) if copies else None


def compacted_by(client: AdminClient, topic: str) -> str:
    """When Kafka must have cleaned away superseded states at the latest, in ISO 8601; "" where its settings don't say.

    AuthError, TransientError.
    """
    config = settings_of(client, [topic])[topic]
    longest = int(config["max.compaction.lag.ms"])
    if longest > _NO_LIMIT or "compact" not in config["cleanup.policy"]:
        return ""
    return (datetime.now(UTC) + timedelta(milliseconds=longest)).isoformat(timespec="seconds")


def removed_by(client: AdminClient, topic: str) -> str:
    """When what is on a topic now is old enough for Kafka to remove it, in ISO 8601; "" where its settings don't say.

    AuthError, TransientError.
    """
    longest = int(settings_of(client, [topic])[topic]["retention.ms"])
    if not 0 <= longest <= _NO_LIMIT:
        return ""
    return (datetime.now(UTC) + timedelta(milliseconds=longest)).isoformat(timespec="seconds")


def deletes_kept(client: AdminClient, topics: Iterable[str]) -> dict[str, float]:
    """Topic -> the seconds for which it keeps deletes; only of topics that are compacted. AuthError, TransientError."""
    found = settings_of(client, topics)
    return {
        topic: int(config["delete.retention.ms"]) / 1000
        for topic, config in found.items()
        if "compact" in config["cleanup.policy"]
    }


def settings_of(client: AdminClient, topics: Iterable[str]) -> dict[str, dict[str, str]]:
    """Topic -> its settings in the cluster. AuthError, TransientError."""
    resources = [ConfigResource(ConfigResource.Type.TOPIC, topic) for topic in topics]
    with kafka_errors("reading the topics' settings"):
        asked = client.describe_configs(resources) if resources else {}
    found = {}
    for one, future in asked.items():
        with kafka_errors(f"reading the settings of topic {one.name}"):
            found[str(one.name)] = future.result(_TIMEOUT)
    return {topic: {name: str(entry.value) for name, entry in config.items()} for topic, config in found.items()}
