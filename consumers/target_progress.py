"""How far a target itself says that its flow has come: where that is less than was delivered, it lacks the rest.

A target that was restored from a backup, a standby that lagged and was promoted, a database that was made again: each
lacks what was delivered since, while the group's offsets, which Kafka keeps, say that all of it was. So the target
notes how far it is, after the records themselves, and only then are offsets committed. What is missing is delivered
again; the version guard leaves alone what is there. What landed later than its place on the topic says is on the flow's
requeue topic: letters that were sent back, and copies of what had waited (`sorbus/bus/late_copies.py`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from functools import partial
from itertools import groupby
from operator import itemgetter

from sorbus.abilities import Progress
from sorbus.bus.kafka import Partition
from sorbus.consumers.group_member import GroupMember
from sorbus.consumers.target import TargetWriter
from sorbus.errors import AuthError, SorbusError, TransientError
from sorbus.telemetry.health import Health

_SHARE, _PAUSE = 0.02, 5.0
"""How much of its time a flow may spend on notes, since a target may be far away; the longest pause, in seconds."""
_NOTE, _TOLD_FOR = "restored", 86_400.0
_NOT_AGAIN = "; what replays brought needs `sorbus replay`"
_UNNOTED, _PATIENCE = "noting", 10.0
_log = logging.getLogger(__name__)


class TargetProgress:
    """One flow's, in the partitions that its member reads."""

    def __init__(self, flow: str, target: TargetWriter, member: GroupMember, health: Health) -> None:
        self._flow, self._target, self._member, self._health = flow, target, member, health
        self._checked: set[Partition] = set()
        """Partitions that were compared in the target's present session."""
        self._begun: dict[Partition, int] = {}
        """Partition -> from where on this process has delivered it; before that Kafka's word counts."""
        self._back: dict[Partition, Progress | None] = {}
        """Partition -> what the target has of it, where that is less than was delivered."""
        self._missing: dict[Partition, int] = {}
        """Partition -> up to where the target had come before it was found in an earlier state."""
        self._told: tuple[str, float] | None = None
        """What is said of that, and until when (monotonic seconds)."""
        self._next_at = 0.0
        self._failing_since: float | None = None
        self._is_refused = False
        target.on_opened, member.before_waiting = self._opened, partial(self.note, at_once=True)

    def behind(self) -> dict[Partition, int]:
        """The partitions of which the target has less than was delivered, and where to read them again.

        TransientError, AuthError.
        """
        reached = self._member.reached()  # partitions may have gone, or begun again, since
        self._begun = {place: min(at, reached[place]) for place, at in self._begun.items() if place in reached}
        if self._target.is_open:
            self._compare()
        back, self._back = self._back, {}
        return self._member.goes_back({place: to for place, to in back.items() if place in reached})

    def note(self, *, at_once: bool = False) -> None:
        """Has the target note how far it is, where that has changed and offsets may be committed, or `at_once`."""
        began = time.monotonic()
        if not at_once and (began < self._next_at or not self._member.is_commit_due):
            return
        if self._told is not None:
            self._catch_up(self._member.reached(), self._told)
        if self._is_refused or not (self._target.is_open and self._target.keeps_progress):
            return
        moved = {
            place: progress
            for place, progress in self._member.to_note().items()
            if place in self._checked and place not in self._back
        }
        if not moved:
            return
        try:
            self._look(moved)  # a note hides that it had less
            for topic in {topic for topic, _ in moved}:
                here = {at: progress for at, progress in moved.items() if at[0] == topic and at not in self._back}
                if here:
                    self._target.note_progress(self._key(topic), {number: at for (_, number), at in here.items()})
                    self._member.note(here)
        except (TransientError, AuthError) as error:  # what landed has landed
            self._failed(error)
        else:
            if self._failing_since is not None:
                self._failing_since = None
                self._health.note(_UNNOTED, None)
        now = time.monotonic()
        self._next_at = now + min((now - began) / _SHARE, _PAUSE)

    def look(self) -> bool:
        """Looks for an earlier state that came without the end of a session, as by a dump that is loaded: whether the
        target was asked. TransientError, AuthError.
        """
        places = self._checked & self._member.reached().keys()
        if not places or self._is_refused or not (self._target.is_open and self._target.keeps_progress):
            return False
        self._look(places)
        return True

    def _look(self, places: Iterable[Partition]) -> None:
        noted = self._member.noted()
        for topic, group in groupby(sorted(places), key=itemgetter(0)):
            found = self._target.progress(self._key(topic)) or {}
            for place in group:
                has, had = found.get(place[1]), noted.get(place, 0)
                if (0 if has is None else has.offset) < had and place not in self._back:
                    self._found_earlier(place, had, has)

    def _found_earlier(self, place: Partition, had: int, has: Progress | None) -> None:
        self._tell(place, had, has)
        self._back[place] = has
        self._begun[place] = 0 if has is None else has.offset

    def _failed(self, error: SorbusError) -> None:
        now = time.monotonic()
        self._failing_since = self._failing_since or now
        if isinstance(error, AuthError):  # the flow goes on as with a target that notes nothing
            self._is_refused, self._member.is_noted = True, False
            said = f"the target may not note how far it is, so nobody will notice if it is restored: {error}"
            _log.warning("flow %s: %s", self._flow, said)
            self._health.note(_UNNOTED, said)
            return
        _log.debug("flow %s: the target can't note how far it is: %s", self._flow, error)
        if now - self._failing_since > _PATIENCE:
            self._health.note(
                _UNNOTED,
                f"the target has taken no note of how far the flow is for {_PATIENCE:.0f} s, so that delivered events"
                f" count as lag: {error}",
            )

    def _opened(self) -> None:
        """It may be in another state than before: looked at before anything is delivered to it."""
        self._checked = set()
        self._compare()

    def _compare(self) -> None:
        reached = self._member.reached()
        self._checked &= reached.keys()
        for topic in {topic for topic, _ in reached.keys() - self._checked if self._member.id_of(topic)}:
            found = None if self._is_refused else self._target.progress(self._key(topic))
            self._member.is_noted = found is not None
            if found is None:
                return
            for place in [place for place in reached.keys() - self._checked if place[0] == topic]:
                self._compare_one(place, reached[place], found.get(place[1]))
                self._checked.add(place)

    def _compare_one(self, place: Partition, reached: int, has: Progress | None) -> None:
        """Of one partition, what the flow has reached and what the target says that it has."""
        had, has_offset = self._member.noted().get(place, 0), 0 if has is None else has.offset
        if has_offset < had:
            self._found_earlier(place, had, has)
        elif place in self._begun:  # delivered, whether that was noted or not
            back = max(self._begun[place], has_offset)
            if back < reached:
                self._back[place] = Progress(back, 0.0)
        else:
            self._begun[place] = reached

    def _key(self, topic: str) -> str:
        """What is noted is noted for: a topic that was made again is another one."""
        return f"{topic} {self._member.id_of(topic)}"

    def _tell(self, place: Partition, had: int, has: Progress | None) -> None:
        since = "the beginning" if has is None else _utc(has.noted_at)
        found = (
            f"the target was found in an earlier state at {_utc(time.time())} (it was restored, made again or a standby"
            f" that lagged): events since {since}"
        )
        where = f"{place[0]} (partition {place[1]})"
        has_offset = 0 if has is None else has.offset
        _log.warning(
            "flow %s: %s are delivered again: of %s it had %d, and has %d", self._flow, found, where, had, has_offset
        )
        self._health.note(_NOTE, f"{found} are delivered again{_NOT_AGAIN}")
        self._missing[place] = max(had, self._missing.get(place, 0))
        self._told = found, time.monotonic() + _TOLD_FOR

    def _catch_up(self, reached: dict[Partition, int], told: tuple[str, float]) -> None:
        found, until = told
        lacked = bool(self._missing)
        self._missing = {place: had for place, had in self._missing.items() if reached.get(place, had) < had}
        if lacked and not self._missing:
            _log.warning("flow %s: %s have been delivered again", self._flow, found)
            but = self._member.unrepeated
            self._health.note(_NOTE, f"{found} have been delivered again{f'; but {but}' if but else ''}{_NOT_AGAIN}")
        if time.monotonic() > until:
            self._health.note(_NOTE, None)
            self._told = None


def _utc(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))
