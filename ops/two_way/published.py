"""Whether the systems of a two-way data type have published what they hold: before that, records seem to be missing."""

from __future__ import annotations

import time

from sorbus.bus.names import Names
from sorbus.bus.positions import read_positions
from sorbus.checksums import SupportsMarks
from sorbus.errors import SorbusError
from sorbus.map.loaded import LoadedMap
from sorbus.settings import Settings

_ASK_EVERY = 0.3


def wait_until_published(loaded: LoadedMap, settings: Settings, data_type: str, seconds: float) -> None:
    """Until all that the systems hold at this moment is on their topics. SorbusError after so many seconds."""
    two_way, names = loaded.two_way[data_type], Names(loaded.map.topic_prefix)
    marks: dict[str, tuple[SupportsMarks, int]] = {}
    for system in two_way.systems:
        connector: object = loaded.producer(system)
        if isinstance(connector, SupportsMarks):
            marks[system] = connector, connector.mark(loaded.system(system, "producer"))
    deadline = time.monotonic() + seconds
    while marks:
        positions = read_positions(settings, names)
        for system, (producer, mark) in list(marks.items()):
            position = positions.get(system)
            if position is not None and producer.has_passed(position, mark, two_way.proposals(system)):
                del marks[system]
        if marks and time.monotonic() > deadline:
            behind = ", ".join(marks)
            raise SorbusError(
                f"the producer of {behind} hasn't published its {data_type} records yet, so they would seem to be"
                " missing: run `sorbus up`, see `sorbus status`, and try again (--wait takes seconds)"
            )
        if marks:
            time.sleep(_ASK_EVERY)
