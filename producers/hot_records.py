"""Records that change again and again: a circle through other systems looks so, such as a trigger that writes back.

Changes are counted a minute at a time. The count is bounded: of too many different records those that changed least are
dropped.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from sorbus.connector import Change, record_of
from sorbus.telemetry.health import Health
from sorbus.telemetry.metrics import ProducerMetrics

WINDOW = 60.0
MANY = 60
"""So many changes of one record in a window (seconds) are a finding: one a second, all the time."""
_LOOK_EVERY = 2.0
_MOST, _KEPT = 20_000, 1_000
_SHOWN = 3
_NOTE = "hot"
_log = logging.getLogger(__name__)
Record = tuple[str, bytes]


class HotRecords:
    """One producer's."""

    def __init__(
        self, system: str, health: Health, metrics: ProducerMetrics, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._system, self._health, self._metrics, self._clock = system, health, metrics, clock
        self._counts: Counter[Record] = Counter()
        self._told: set[Record] = set()
        self._began = self._looked = clock()

    def count(self, changes: Sequence[Change]) -> None:
        """Changes that are published, but for those of a copy."""
        self._counts.update(map(record_of, changes))
        if len(self._counts) > _MOST:
            self._counts = Counter(dict(self._counts.most_common(_KEPT)))

    def look(self) -> None:
        """Called often: tells of what is hot, now and then, and begins the next minute."""
        now = self._clock()
        if now - self._looked < _LOOK_EVERY:
            return
        self._looked = now
        is_over = now - self._began >= WINDOW
        hot = sorted((one for one in self._counts.items() if one[1] >= MANY), key=lambda one: -one[1])
        if hot:
            self._tell(hot, max(1.0, now - self._began))
        elif is_over:
            self._health.note(_NOTE, None)
        if is_over or hot:
            self._metrics.busiest(dict(_busiest(self._counts)), max(1.0, now - self._began))
        if is_over:
            self._counts, self._told, self._began = Counter(), set(), now

    def _tell(self, hot: Sequence[tuple[Record, int]], seconds: float) -> None:
        (data_type, id), count = hot[0]
        more = f" (and {len(hot) - 1:,} records more)" if len(hot) > 1 else ""
        words = (
            f"{data_type} {_shown(id)} changes again and again: {count:,} times within {seconds:.0f} s{more}; see what"
            " writes it, such as a trigger of a target that writes back to its owner, and `sorbus trace"
            f" {data_type} {_shown(id)}`"
        )
        self._health.note(_NOTE, words)
        new = [record for record, _ in hot[:_SHOWN] if record not in self._told]
        if new:
            _log.warning("%s: %s", self._system, words)
        self._told.update(record for record, _ in hot)


def _busiest(counts: Counter[Record]) -> Iterable[tuple[str, int]]:
    """Data type -> the changes of the record that changed most."""
    return reversed([(data_type, count) for (data_type, _), count in counts.most_common(_KEPT)])


def _shown(id: bytes) -> str:
    return id.decode(errors="backslashreplace")
