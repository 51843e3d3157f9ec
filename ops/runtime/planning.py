"""The difference between a map and what is there, in the order in which it is fixed: Kafka, registry, systems."""

from __future__ import annotations

from sorbus.bus.kafka import admin, cluster_id
from sorbus.connector import Step
from sorbus.discovery import SupportsSourceWarnings, SupportsTargetWarnings
from sorbus.drift.watch import has_state
from sorbus.map.loaded import LoadedMap
from sorbus.ops.runtime.moves import plan_moves
from sorbus.ops.runtime.places import outdated_flows, plan_places
from sorbus.ops.runtime.subjects import plan_subjects
from sorbus.ops.runtime.topics import plan_topics, topics_of
from sorbus.settings import Settings
from sorbus.state import plan_state


def plan(loaded: LoadedMap, settings: Settings) -> list[Step]:
    """Everything that has to change before the map can run as it is written; empty when nothing has.

    SchemaError when a schema doesn't fit the one in use, AuthError, TransientError when something can't be asked.
    """
    steps = plan_subjects(loaded, settings)
    kafka = admin(settings)
    steps = plan_topics(kafka, topics_of(loaded.map, settings.topic_config)) + steps
    if has_state(settings):
        steps += plan_state(settings.database, loaded.map.topic_prefix, cluster_id(kafka))
    for system in producing_systems(loaded):
        steps += loaded.producer(system).plan(loaded.system(system, "producer"), loaded.sources(system))
        steps += plan_moves(loaded, settings, system)
    for flow in running_flows(loaded):
        steps += loaded.consumer(loaded.map.flow(flow).to).plan(loaded.flow(flow))
    steps += plan_places(loaded, settings)
    # Several systems and flows may need the same thing, such as the state database: the first knows most of it.
    found: dict[tuple[str, str, str], Step] = {}
    for step in steps:
        found.setdefault((step.where, step.what, step.detail), step)
    return list(found.values())


def warnings(loaded: LoadedMap, settings: Settings) -> list[str]:
    """Which records will become dead letters though nothing has to change before the map can run, or are in their
    target as a former map made them; each with its fix.

    TransientError, AuthError, MapError.
    """
    found: list[str] = []
    for system in producing_systems(loaded):
        producer = loaded.producer(system)
        if isinstance(producer, SupportsSourceWarnings):
            found += producer.source_warnings(loaded.system(system, "producer"), loaded.sources(system))
    for flow in running_flows(loaded):
        consumer = loaded.consumer(loaded.map.flow(flow).to)
        if isinstance(consumer, SupportsTargetWarnings):
            found += consumer.target_warnings(loaded.flow(flow))
    return list(dict.fromkeys([*found, *outdated_flows(loaded, settings)]))


def producing_systems(loaded: LoadedMap) -> list[str]:
    """The systems that own data types, each with a producer of its own."""
    return [system for system in loaded.map.systems if loaded.map.owned_by(system)]


def running_flows(loaded: LoadedMap) -> list[str]:
    """The flows that a consumer delivers."""
    return [flow.id for flow in loaded.map.flows if flow.runs]
