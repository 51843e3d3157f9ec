"""What was lost or restored behind Sorbus's back, as far as it shows: each with the page to follow."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import closing

from sorbus.bus.kafka import admin
from sorbus.bus.names import Names
from sorbus.bus.positions import read_positions
from sorbus.bus.status import StatusReader
from sorbus.bus.topic_facts import topic_facts
from sorbus.bus.topic_ownership import owned
from sorbus.diagnosis import Diagnosis
from sorbus.failover import SupportsPositionCheck
from sorbus.map.loaded import LoadedMap
from sorbus.ops.doctor.bus import KAFKA
from sorbus.ops.monitoring.committed import Committed
from sorbus.ops.monitoring.lost_events import left_words, lost_words, without_offsets
from sorbus.ops.monitoring.problems import ended_consumers
from sorbus.ops.runtime.planning import running_flows
from sorbus.settings import Settings

_PAGE = re.compile(r"\(?(docs/runbooks/[a-z-]+\.md)\)?")


def examine_topics(settings: Settings, loaded: LoadedMap) -> Iterator[Diagnosis]:
    """Topics that producers have filled and that are gone or others now; offsets that are gone. TransientError."""
    names, client = Names(loaded.map.topic_prefix), admin(settings)
    if not topic_facts(client, [names.positions]):
        return  # nothing has run yet
    positions = read_positions(settings, names)
    types = loaded.map.data_types
    left = {name: found for position in positions.values() for name, found in owned(position).items() if name in types}
    flows = {flow: names.topic(loaded.map.flow(flow).data_type) for flow in running_flows(loaded)}
    facts = topic_facts(client, {*flows.values(), *map(names.topic, left)})
    with closing(StatusReader(settings, names)) as reader, closing(Committed(settings)) as committed:
        ended = ended_consumers(reader.read(), time.time())
        parts = {
            names.group(flow): [(topic, number) for number in range(len(facts[topic].begins))]
            for flow, topic in flows.items()
            if topic in facts
        }
        found = committed.ask(parts)
    places = {flow: found.get(names.group(flow), {}) for flow in flows}
    filled = {name: names.topic(name) for name in left}
    said = [*left_words(filled, facts, left), *lost_words(filled, facts, places)]
    said += without_offsets(flows, facts, places, ended)
    for words in said:
        yield diagnosis(KAFKA, "topics", words)


def examine_position(settings: Settings, loaded: LoadedMap, system: str) -> Iterator[Diagnosis]:
    """Whether a producer can resume where it stopped. TransientError, AuthError."""
    connector: object = loaded.producer(system)
    names = Names(loaded.map.topic_prefix)
    if not isinstance(connector, SupportsPositionCheck) or not topic_facts(admin(settings), [names.positions]):
        return
    fault = connector.position_fault(
        loaded.system(system, "producer"), lambda: read_positions(settings, names).get(system)
    )
    if fault is not None:
        yield diagnosis(system, "position", fault)


def diagnosis(where: str, what: str, words: str) -> Diagnosis:
    """Words that name a page, as a problem whose fix is that page."""
    page = _PAGE.search(words)
    fix = f"follow {page[1]}" if page else "do what it says"
    return Diagnosis(where, what, _PAGE.sub("", words).strip(), "problem", fix)
