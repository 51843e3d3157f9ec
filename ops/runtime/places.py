"""What `sorbus plan` says of flows that write to another place than before, or something else."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from contextlib import closing

from sorbus.bus.committed import CommittedPosition
from sorbus.bus.kafka import admin
from sorbus.bus.names import Names
from sorbus.bus.topic_facts import topic_facts
from sorbus.connector import Step
from sorbus.drift.watch import has_state
from sorbus.errors import AuthError
from sorbus.flow_place import place_of_flow, rules_of_flow
from sorbus.map.loaded import LoadedMap
from sorbus.mapfile.model import Flow
from sorbus.ops.monitoring.committed import Committed
from sorbus.ops.replay.job import ReplayJobs
from sorbus.settings import Settings
from sorbus.state.database import State

_log = logging.getLogger(__name__)


def plan_places(loaded: LoadedMap, settings: Settings) -> list[Step]:
    """The flows that read their topics from the beginning when they start next. TransientError, AuthError."""
    steps = []
    for flow, places in _committed(loaded, settings):
        now = place_of_flow(loaded.flow(flow.id))
        if before := sorted({one.place for one in places} - {"", now}):
            detail = (
                f"its topic is read from the beginning, when it starts: it wrote to {', '.join(before)}, and the map"
                f" now says {now}; what it wrote before stays where it is"
            )
            steps.append(Step(flow.to, f"{flow.id} delivers all records again", detail, _by_the_flow, at_start=True))
    return steps


def outdated_flows(loaded: LoadedMap, settings: Settings) -> list[str]:
    """Which flows have delivered records by other rules than the map has now. TransientError, AuthError."""
    found = []
    jobs = ReplayJobs(State.of(loaded.map.topic_prefix)) if has_state(settings) else None
    for flow, places in _committed(loaded, settings):
        bound = loaded.flow(flow.id)
        rules, place = rules_of_flow(bound), place_of_flow(bound)
        here = [one for one in places if one.place == place]
        since = max((one.since for one in here), default=0.0)
        is_new = any(one.rules != rules for one in here)
        if is_new or (since and jobs is not None and not jobs.whole_since(flow.id, since)):
            found.append(
                f"{flow.id}: the map makes something else of records than when some of them were delivered: these stay"
                f" as they are until they change; `sorbus plan {flow.id}` counts what would differ, `sorbus replay"
                f" {flow.id}` brings it"
            )
    return found


def _committed(loaded: LoadedMap, settings: Settings) -> Iterator[tuple[Flow, Collection[CommittedPosition]]]:
    """What each running flow has committed of its data type's topic."""
    names = Names(loaded.map.topic_prefix)
    flows = {names.group(flow.id): flow for flow in loaded.map.flows if flow.runs}
    if not flows:
        return
    facts = topic_facts(admin(settings), {names.topic(flow.data_type) for flow in flows.values()})
    wanted = {
        group: [(topic, number) for number in range(len(facts[topic].ends))]
        for group, flow in flows.items()
        if (topic := names.topic(flow.data_type)) in facts
    }
    try:
        with closing(Committed(settings)) as committed:
            found = committed.ask(wanted)
    except AuthError as error:  # who may make topics need not be in these groups
        _log.warning("what flows have delivered isn't known here: %s", error)
        return
    for group, places in found.items():
        yield flows[group], places.values()


def _by_the_flow() -> None:
    """The flow does it, when it starts."""
