"""Events that a target refused since it holds a newer version, and that are no repeats: told, never dropped in silence.

An event that comes again after a crash, or behind a replay, is older than what the target has too; but then its topic
holds the newer event as well, further on. So what was refused is kept until the newer one comes, and counts when the
end of its partition was read without one: the target has a version that the topic never had.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from confluent_kafka import Message

from sorbus.bus.deserialize import Overtaken
from sorbus.bus.kafka import Partition, offset_of, partition_of
from sorbus.connector import Delivery
from sorbus.telemetry.health import Health
from sorbus.telemetry.metrics import ConsumerMetrics

_MOST = 10_000
"""Records that are kept; of more, the first ones are forgotten, and counted all the same."""
_SHOWN = 5
_NOTE = "stale"
_log = logging.getLogger(__name__)


class _Refused(NamedTuple):
    """A refused event: its version and the target's, where it was, and how many of its record there were."""

    version: int
    newer: int
    partition: Partition
    offset: int
    events: int


class StaleEvents:
    """One flow's. `events` is its data type's topic: a letter that was sent back may well be older."""

    def __init__(
        self, flow: str, data_type: str, target: str, events: str, health: Health, metrics: ConsumerMetrics
    ) -> None:
        self._flow, self._data_type, self._target, self._events = flow, data_type, target, events
        self._health, self._metrics = health, metrics
        self._doubtful: dict[bytes, _Refused] = {}
        self._certain: dict[bytes, _Refused] = {}

    def applied(self, deliveries: Sequence[Delivery], messages: Sequence[Message], newer: Mapping[bytes, int]) -> None:
        """What the target took; `newer`: id -> the newer version that it has, of those that changed nothing."""
        if not (newer or self._doubtful or self._certain):
            return
        for delivery, message in zip(deliveries, messages, strict=True):
            id, version = delivery.id, delivery.version
            if (before := self._doubtful.get(id)) is not None and version >= before.newer:
                del self._doubtful[id]
            if (before := self._certain.get(id)) is not None and version > before.newer:
                del self._certain[id]
            if id in newer and message.topic() == self._events:
                self._keep(self._doubtful, id, version, newer[id], message)
        self._tell()

    def overtaken(self, found: Iterable[Overtaken]) -> None:
        """Events behind a newer one of their record on the same partition: no reader has seen them before."""
        mine = [one for one in found if one.message.topic() == self._events]
        for one in mine:
            self._keep(self._certain, one.id, one.version, one.newer, one.message)
        self._count([(one.id, self._certain[one.id]) for one in mine[-_SHOWN:]], len(mine))

    def drained(self, ends: Mapping[Partition, int]) -> None:
        """Partitions that were read to their end, before an offset."""
        if not self._doubtful:
            return
        sure = {id: one for id, one in self._doubtful.items() if one.offset < ends.get(one.partition, -1)}
        for id, one in sure.items():
            del self._doubtful[id]
            self._certain.pop(id, None)
            self._certain[id] = one
        while len(self._certain) > _MOST:
            del self._certain[next(iter(self._certain))]
        self._count(list(sure.items())[-_SHOWN:], sum(one.events for one in sure.values()))

    def _keep(self, kept: dict[bytes, _Refused], id: bytes, version: int, newer: int, message: Message) -> None:
        before = kept.pop(id, None)
        if len(kept) >= _MOST:
            del kept[next(iter(kept))]
        events = 1 + (before.events if before else 0)
        kept[id] = _Refused(
            version, max(newer, before.newer if before else 0), partition_of(message), offset_of(message), events
        )

    def _count(self, shown: Sequence[tuple[bytes, _Refused]], events: int) -> None:
        if not events:
            return
        self._metrics.stale(events)
        told = ", ".join(f"{_shown(id)} (version {one.version}, it has {one.newer})" for id, one in shown)
        _log.warning(
            "flow %s: %d events changed nothing, since %s has newer versions than %s holds: %s; see `sorbus trace`",
            self._flow,
            events,
            self._target,
            self._events,
            told,
        )
        self._tell()

    def _tell(self) -> None:
        if not self._certain:
            self._health.note(_NOTE, None)
            return
        id, one = next(reversed(self._certain.items()))
        count = len(self._certain)
        self._health.note(
            _NOTE,
            f"{count:,} record{'s' * (count != 1)} of {self._target} keep{'s' * (count == 1)} newer versions than"
            f" their owner's last events, which changed nothing; the last is {self._data_type} {_shown(id)} (version"
            f" {one.version}, it has {one.newer}): see `sorbus trace {self._data_type} {_shown(id)}`",
        )


def _shown(id: bytes) -> str:
    return id.decode(errors="backslashreplace")
