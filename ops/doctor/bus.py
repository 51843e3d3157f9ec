"""Kafka, the schema registry and Sorbus's own database."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from email.utils import parsedate_to_datetime

import httpx
from confluent_kafka.admin import AclOperation, AdminClient
from pydantic import SecretStr

from sorbus.bus.kafka import admin, kafka_errors
from sorbus.bus.names import Names
from sorbus.bus.registry import ConfluentRegistry
from sorbus.bus.registry_access import registry_client
from sorbus.bus.schema_history import schema_history
from sorbus.bus.topic_facts import denied
from sorbus.diagnosis import Diagnosis, clock
from sorbus.drift.watch import has_state
from sorbus.errors import SchemaError, TransientError
from sorbus.event import record_inside
from sorbus.http_api import bounded
from sorbus.map.loaded import LoadedMap
from sorbus.ops.doctor.steps import of_steps
from sorbus.ops.runtime.subjects import plan_subjects
from sorbus.ops.runtime.topics import plan_topics, topics_of
from sorbus.postgres.connection import PostgresConnection
from sorbus.postgres.diagnose import diagnose_server
from sorbus.schema import parse_schema
from sorbus.settings import Settings
from sorbus.state import plan_state

KAFKA, REGISTRY, STATE = "Kafka", "registry", "Sorbus's database"
_NEEDS = (AclOperation.DESCRIBE, AclOperation.DESCRIBE_CONFIGS, AclOperation.READ, AclOperation.WRITE)
_ANSWERS_WITHIN = 10.0
_LARGEST = 1_000_000


def examine_kafka(settings: Settings, loaded: LoadedMap | None) -> Iterator[Diagnosis]:
    """Brokers, partitions without enough replicas, and with a map its topics."""
    client = admin(settings)
    with kafka_errors("asking Kafka for its topics"):
        metadata = client.list_topics(timeout=_ANSWERS_WITHIN)
    yield Diagnosis(KAFKA, "connection", f"{len(metadata.brokers)} broker(s) at {settings.kafka}")
    prefix = loaded.map.topic_prefix if loaded else ""
    ours = [topic for name, topic in metadata.topics.items() if name.startswith(prefix)] if loaded else []
    parts = [(topic.topic, part) for topic in ours for part in topic.partitions.values()]
    if headless := sorted({str(name) for name, part in parts if part.leader < 0}):
        fix = "start the brokers that hold them"
        yield Diagnosis(KAFKA, "leaders", f"partitions without a leader: {', '.join(headless)}", "problem", fix)
    if behind := sorted({str(name) for name, part in parts if len(part.isrs) < len(part.replicas)}):
        fix = "see whether a broker is down or its disk is full"
        found = f"partitions with fewer replicas in sync than they should have: {', '.join(behind)}"
        yield Diagnosis(KAFKA, "replicas", found, "warning", fix)
    if loaded is not None:
        yield from _rights(client, [str(topic.topic) for topic in ours])
        yield from of_steps(KAFKA, "topics", plan_topics(client, topics_of(loaded.map, settings.topic_config)))


def _rights(client: AdminClient, topics: Sequence[str]) -> Iterator[Diagnosis]:
    """Whether this login may do on the topics what processes do there."""
    topics_of_rights: dict[str, list[str]] = {}
    for topic, lacking in denied(client, topics, _NEEDS).items():
        topics_of_rights.setdefault(" and ".join(lacking), []).append(topic)
    for rights, found in topics_of_rights.items():
        fix = "add it to the broker's ACLs (docs/providers.md)"
        yield Diagnosis(KAFKA, "rights", f"this login lacks {rights} on {', '.join(sorted(found))}", "problem", fix)


def examine_registry(settings: Settings, loaded: LoadedMap | None) -> Iterator[Diagnosis]:
    """Whether it answers, its clock, and with a map its subjects."""
    before = time.time()
    try:
        client = registry_client(settings, timeout=_ANSWERS_WITHIN)
        with client, bounded.within(_ANSWERS_WITHIN):
            asked = client.build_request("GET", "/config")
            answer, _ = bounded.read(client, asked, largest=_LARGEST)
    except (httpx.HTTPError, httpx.InvalidURL, bounded.TooLarge, bounded.UnknownEncoding) as error:
        raise TransientError(f"the registry can't be asked ({type(error).__name__}); see SORBUS_REGISTRY") from error
    if not answer.is_success:
        fix = "see SORBUS_REGISTRY and SORBUS_REGISTRY_CONFIG"
        yield Diagnosis(REGISTRY, "connection", f"it answers with status {answer.status_code}", "problem", fix)
        return
    yield Diagnosis(REGISTRY, "connection", f"answers within {1000 * (time.time() - before):.0f} ms")
    if date := answer.headers.get("date"):
        theirs = parsedate_to_datetime(date).timestamp() + 0.5  # a header has whole seconds
        yield clock(REGISTRY, theirs, before - 0.5, time.time() + 0.5)
    if loaded is not None:
        yield from of_steps(REGISTRY, "subjects", plan_subjects(loaded, settings))
        yield from _lost_schemas(settings, Names(loaded.map.topic_prefix))


def _lost_schemas(settings: Settings, names: Names) -> Iterator[Diagnosis]:
    """Whether the registry still has the schemas of all events, under their ids."""
    registry = ConfluentRegistry(settings)
    written = {head: same for head, same in schema_history(settings, names).read().items() if head[0] == 0}
    lost, reused = 0, 0
    for head, same in written.items():
        text = registry.schema(int.from_bytes(head[1:], "big"))
        lost += text is None
        reused += text is not None and _encoding(text) not in same
    if not lost and not reused:
        if written:
            yield Diagnosis(REGISTRY, "ids", f"it has all {len(written)} schemas that events were written with")
        return
    kept = "Sorbus reads them from its own topic, other readers can't"
    found = f"it was emptied or restored: of {len(written)} schemas that events were written with, it lacks {lost}"
    found += f" and gives the ids of {reused} to other schemas" if reused else ""
    yield Diagnosis(REGISTRY, "ids", f"{found}; {kept}", "warning", "follow docs/runbooks/registry-emptied.md")


def _encoding(text: str) -> str:
    try:
        return record_inside(parse_schema(text)).encoding
    except SchemaError:
        return ""


def examine_state(settings: Settings, loaded: LoadedMap | None) -> Iterator[Diagnosis]:
    """Its server, and with a map its tables."""
    if not has_state(settings):
        found = "SORBUS_DATABASE is not set: HTTP applications, the console and decisions need it"
        yield Diagnosis(STATE, "connection", found, "warning", "set SORBUS_DATABASE to a PostgreSQL database")
        return
    yield from diagnose_server(STATE, PostgresConnection(dsn=SecretStr(settings.database)))
    if loaded is not None:
        yield from of_steps(STATE, "tables", plan_state(settings.database, loaded.map.topic_prefix))
