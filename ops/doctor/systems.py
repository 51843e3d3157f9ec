"""The systems of a map: whether each can be reached and read or written, and what is not as the map needs it."""

from __future__ import annotations

from collections.abc import Iterator

from sorbus.abilities import SupportsHealthCheck
from sorbus.diagnosis import Diagnosis
from sorbus.discovery import SupportsDiagnosis, SupportsSampling, SupportsSourceWarnings, SupportsTargetWarnings
from sorbus.map.loaded import LoadedMap
from sorbus.ops.doctor.steps import of_steps
from sorbus.waiting.complete import consumer_of


def examine_server(loaded: LoadedMap, system: str) -> Iterator[Diagnosis]:
    """What the system's connector finds out about its server."""
    is_source = bool(loaded.map.owned_by(system))
    connector: object = loaded.producer(system) if is_source else loaded.consumer(system)
    if isinstance(connector, SupportsDiagnosis):
        yield from connector.diagnose(loaded.system(system, "producer" if is_source else "consumer"))


def examine_source(loaded: LoadedMap, system: str) -> Iterator[Diagnosis]:
    """A system of record: what `sorbus plan` finds, whether records can be read."""
    connector, bound, sources = loaded.producer(system), loaded.system(system, "producer"), loaded.sources(system)
    yield from of_steps(system, "source", connector.plan(bound, sources))
    if isinstance(connector, SupportsSourceWarnings):
        for warning in connector.source_warnings(bound, sources):
            yield Diagnosis(system, "records", warning, "warning")
    if isinstance(connector, SupportsSampling):
        for source in sources:
            count = len(connector.sample(bound, connector.resources_of(source.options)[""], 1))
            found = "a record can be read" if count else "can be read, and holds no record"
            yield Diagnosis(system, source.name, found)


def examine_target(loaded: LoadedMap, flow: str) -> Iterator[Diagnosis]:
    """A flow's target: what `sorbus plan` finds, and whether it opens as for delivery."""
    bound = loaded.flow(flow)
    system, connector = bound.system.name, loaded.consumer(bound.system.name)
    steps = list(of_steps(system, flow, connector.plan(bound)))
    yield from steps
    if isinstance(connector, SupportsTargetWarnings):
        for warning in connector.target_warnings(bound):
            yield Diagnosis(system, flow, warning, "warning")
    if any(step.level == "problem" for step in steps):
        return  # it can't open before that is done
    consumer = consumer_of(connector, bound)
    try:
        consumer.open()
        if isinstance(consumer, SupportsHealthCheck):
            consumer.check()
    finally:
        consumer.close()
    yield Diagnosis(system, flow, "opens for delivery")
