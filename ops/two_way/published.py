"""Whether the systems of a two-way data type have published what they hold: before that, records seem to be missing."""

from __future__ import annotations

import time

from sorbus.abilities import SupportsFirstList
from sorbus.bus.kafka import admin
from sorbus.bus.names import Names
from sorbus.bus.positions import read_positions
from sorbus.bus.topic_facts import topic_ids
from sorbus.bus.topic_ownership import owned
from sorbus.checksums import SupportsMarks
from sorbus.errors import SorbusError
from sorbus.map.loaded import LoadedMap
from sorbus.settings import Settings

_ASK_EVERY = 0.3


def wait_until_published(loaded: LoadedMap, settings: Settings, data_type: str, seconds: float) -> None:
    """Until all that the systems hold at this moment is on their topics. SorbusError after so many seconds."""
    two_way, names = loaded.two_way[data_type], Names(loaded.map.topic_prefix)
    marks: dict[str, tuple[SupportsMarks, int]] = {}
    lists: dict[str, SupportsFirstList] = {}
    for system in two_way.systems:
        connector: object = loaded.producer(system)
        if isinstance(connector, SupportsMarks):
            marks[system] = connector, connector.mark(loaded.system(system, "producer"))
        elif isinstance(connector, SupportsFirstList):
            lists[system] = connector
    client, deadline = admin(settings), time.monotonic() + seconds
    while marks or lists:
        positions = read_positions(settings, names)
        topics = topic_ids(client, [names.topic(two_way.proposals(system)) for system in marks])
        for system, (producer, mark) in list(marks.items()):
            position, shown = positions.get(system), two_way.proposals(system)
            # A topic that was lost and made again is empty until its producer knows of it.
            left, there = owned(position).get(shown), topics.get(names.topic(shown))
            is_same = left is not None and there is not None and left.topic == there[0]
            if position is not None and is_same and producer.has_passed(position, mark, shown):
                del marks[system]
        for system, connector in list(lists.items()):
            if connector.has_listed(positions.get(system) or {}, two_way.proposals(system)):
                del lists[system]
        if (marks or lists) and time.monotonic() > deadline:
            behind = ", ".join([*marks, *lists])
            raise SorbusError(
                f"the producer of {behind} hasn't published its {data_type} records yet, so they would seem to be"
                " missing: run `sorbus up`, see `sorbus status`, and try again (--wait takes seconds)"
            )
        if marks or lists:
            time.sleep(_ASK_EVERY)
