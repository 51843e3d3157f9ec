"""What `sorbus plan` says of topics that aren't as their producer left them: another owner's, made again, cut short."""

from __future__ import annotations

from sorbus.bus.kafka import admin
from sorbus.bus.names import Names
from sorbus.bus.positions import read_positions
from sorbus.bus.topic_facts import topic_facts
from sorbus.bus.topic_ownership import Inherited, Ownership, held
from sorbus.connector import BoundSource, BoundSystem, Step
from sorbus.discovery import SupportsIdListing
from sorbus.map.loaded import LoadedMap
from sorbus.settings import Settings


def plan_moves(loaded: LoadedMap, settings: Settings, system: str) -> list[Step]:
    """The data types that a system's producer will copy again when it starts next, with counts. Changes nothing."""
    names, bound = Names(loaded.map.topic_prefix), loaded.system(system, "producer")
    sources = {source.name: source for source in loaded.sources(system)}
    facts = topic_facts(admin(settings), [names.positions, *map(names.topic, sources)])
    if facts.pop(names.positions, None) is None:
        return []  # nothing has been published, or `apply` has to make it first
    ownership = Ownership(system, bound.system.kind, read_positions(settings, names))
    steps = []
    for data_type, source in sources.items():
        topic = names.topic(data_type)
        found = ownership.inherits(data_type, facts[topic], settings, topic, waits=False) if topic in facts else None
        if found is not None:
            what = (
                f"{data_type} moves from {found.former} to {system}"
                if found.former
                else f"{data_type} is snapshotted again"
            )
            detail = _detail(found, loaded, bound, source, settings, topic)
            steps.append(Step(system, what, detail, _by_the_producer, at_start=True))
    return steps


def _detail(
    found: Inherited, loaded: LoadedMap, bound: BoundSystem, source: BoundSource, settings: Settings, topic: str
) -> str:
    live = held(settings, topic).live
    if not found.former:
        return f"by its producer, when it starts: {found.why}"
    connector = loaded.producer(bound.name)
    count = f"{len(live):,} records of {found.former} are on the topic"
    if not isinstance(connector, SupportsIdListing):
        return (
            f"{count}; those that {bound.name} has too are replaced, the others removed from every target:"
            " once it is proven that they are gone, and where they are many after a person confirms it (`sorbus drift`)"
        )
    ids = set(connector.ids(bound, source))
    both = len(ids & live.keys())
    return (
        f"{count}: {both:,} will be replaced, {len(live) - both:,} removed from every target, and {len(ids) - both:,}"
        " are new (records are the same when their ids are)"
    )


def _by_the_producer() -> None:
    """Its producer does it, when it starts."""
