"""Which checks a map asks for."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from sorbus.map.checks.check import check_to_run
from sorbus.map.loaded import LoadedMap
from sorbus.ops.doctor import machine
from sorbus.ops.doctor import map as map_
from sorbus.ops.doctor.bus import KAFKA, REGISTRY, STATE, examine_kafka, examine_registry, examine_state
from sorbus.ops.doctor.examination import Check
from sorbus.ops.doctor.losses import examine_position, examine_topics
from sorbus.ops.doctor.systems import examine_server, examine_source, examine_target
from sorbus.ops.runtime.planning import producing_systems, running_flows
from sorbus.settings import Settings


def checks_of(loaded: LoadedMap | None, settings: Settings, folder: Path) -> Iterator[Check]:
    """All of them; without a map, or with one that can't run, those that need none. `folder`: `sorbus up`'s."""
    yield Check(machine.WHERE, "machine", lambda: machine.examine_machine(folder))
    sound = loaded if loaded is not None and not check_to_run(loaded) else None
    if loaded is not None:
        there = loaded
        yield Check(map_.WHERE, str(there.file), lambda: map_.examine_map(there))
    yield Check(KAFKA, "connection", lambda: examine_kafka(settings, sound))
    if settings.registry:
        yield Check(REGISTRY, "connection", lambda: examine_registry(settings, sound))
    yield Check(STATE, "connection", lambda: examine_state(settings, sound))
    if sound is not None:
        yield Check(KAFKA, "topics", partial(examine_topics, settings, sound))
        targets = [sound.map.flow(flow).to for flow in running_flows(sound)]
        for system in dict.fromkeys([*producing_systems(sound), *targets]):
            yield Check(system, "server", partial(examine_server, sound, system))
        for system in producing_systems(sound):
            yield Check(system, "source", partial(examine_source, sound, system))
            yield Check(system, "position", partial(examine_position, settings, sound, system))
        for flow in running_flows(sound):
            yield Check(sound.map.flow(flow).to, flow, partial(examine_target, sound, flow))
