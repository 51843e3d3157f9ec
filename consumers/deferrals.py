"""Records that a flow deferred, and that Sorbus's database lacks since it was restored to before.

Their offsets are committed, so nothing would deliver them: neither in the target nor waiting, nor a dead letter. So
each time that records are deferred is counted in the database, in the transaction that stores them, and the count is
committed with the offsets that pass them. A database that has less is in an earlier state: the partition is read again
from its beginning. What the target has changes nothing, and what must wait is deferred again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping

from sorbus.bus.kafka import Partition
from sorbus.consumers.group_member import GroupMember
from sorbus.consumers.waiting import FlowWaiting
from sorbus.errors import AuthError, TransientError
from sorbus.telemetry.health import Health

LOOK = 60.0
"""Seconds between two looks while nothing is deferred."""
_NOTE, _TOLD_FOR = "state restored", 86_400.0
_log = logging.getLogger(__name__)


class Deferrals:
    """One flow's, in the partitions of its data type that its member reads."""

    def __init__(self, flow: str, waiting: FlowWaiting, member: GroupMember, health: Health) -> None:
        self._flow, self._waiting, self._member, self._health = flow, waiting, member, health
        self._checked: set[Partition] = set()
        self._lacking: set[Partition] = set()
        """Partitions of which the database was found to lack deferred records just now."""
        self._until: dict[Partition, int] = {}
        """Partition that is read again -> up to where it had been read."""
        self._look_at = self._told_until = 0.0
        waiting.on_deferred = self._deferred

    def behind(self) -> dict[Partition, int]:
        """The partitions of which the database lacks what was deferred, and where to read them again. TransientError,
        AuthError: only where the flow needs the database.
        """
        reached = {place: at for place, at in self._member.reached().items() if place[0] == self._member.events}
        self._checked &= reached.keys()
        self._until = {place: until for place, until in self._until.items() if place in reached}
        ended = [place for place, until in self._until.items() if reached[place] >= until]
        now = time.monotonic()
        if ended or self._lacking or (now >= self._look_at or reached.keys() - self._checked):
            try:
                self._end(ended)
                self._look(reached.keys() - self._until.keys())
                self._checked |= reached.keys()
                self._look_at = now + LOOK
            except (TransientError, AuthError) as error:
                if self._waiting.is_needed:
                    raise
                self._checked |= reached.keys()
                self._look_at = now + LOOK
                _log.debug("flow %s: whether all that it deferred still waits isn't known: %s", self._flow, error)
        if self._told_until and now > self._told_until:
            self._told_until = 0.0
            self._health.note(_NOTE, None)
        lacking, self._lacking = self._lacking & reached.keys(), set()
        for place in lacking:
            self._until[place] = max(reached[place], self._until.get(place, 0))
        if lacking:
            self._tell("are read again")
        self._waiting.uncounted = self._until.keys()
        return self._member.goes_back(dict.fromkeys(lacking))

    def _look(self, places: Iterable[Partition]) -> None:
        known = {place: count for place in places if (count := self._member.deferred.get(place, 0))}
        if known and (counted := self._waiting.counted()) is not None:
            self._lacking |= {place for place, count in known.items() if counted.get(place[1], 0) < count}

    def _end(self, ended: Iterable[Partition]) -> None:
        """What these partitions hold is in the target, or waits."""
        wanted = {place: self._member.deferred.get(place, 0) + 1 for place in ended}
        if not wanted:
            return
        counted = self._waiting.count({number: count for (_, number), count in wanted.items()})
        for place in wanted:
            self._member.deferred[place] = counted[place[1]]
            del self._until[place]
        if not self._until:
            self._tell("have been read again")

    def _deferred(self, counted: Mapping[int, int]) -> None:
        """Records of these partitions are stored, for the n-th time."""
        for number, count in counted.items():
            place = self._member.events, number
            if count <= self._member.deferred.get(place, 0):
                self._lacking.add(place)
            else:
                self._member.deferred[place] = count

    def _tell(self, what: str) -> None:
        said = (
            "Sorbus's own database was found in an earlier state (it was restored, or a standby that lagged): events of"
            f" which it may lack deferred records {what}; for the rest see docs/runbooks/state-restored.md"
        )
        _log.warning("flow %s: %s", self._flow, said)
        self._health.note(_NOTE, said)
        self._told_until = time.monotonic() + _TOLD_FOR
