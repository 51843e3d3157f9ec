"""How far a target itself says that its flow has come: where that is less than was delivered, it lacks the rest.

A target that was restored from a backup, a standby that lagged and was promoted, a database that was made again: each
lacks what was delivered since, while the group's offsets, which Kafka keeps, say that all of it was. So the target
notes how far it is, after the records themselves, and only then are offsets committed. What is missing is delivered
again; the version guard leaves alone what is there.
"""

from __future__ import annotations

import logging
import time
from functools import partial

from sorbus.abilities import Progress
from sorbus.bus.kafka import Partition
from sorbus.consumers.group_member import GroupMember
from sorbus.consumers.target import TargetWriter
from sorbus.errors import AuthError, SorbusError, TransientError
from sorbus.telemetry.health import Health

_SHARE, _PAUSE = 0.02, 5.0
"""How much of its time a flow may spend on notes, since a target may be far away; the longest pause, in seconds."""
_NOTE, _TOLD_FOR = "restored", 86_400.0
_NOT_AGAIN = "; records that had waited, requeued dead letters and replays need `sorbus replay`"
_UNNOTED, _PATIENCE = "noting", 10.0
_log = logging.getLogger(__name__)


class TargetProgress:
    """One flow's, in the partitions that its member reads."""

    def __init__(self, flow: str, target: TargetWriter, member: GroupMember, health: Health) -> None:
        self._flow, self._target, self._member, self._health = flow, target, member, health
        self._checked: set[int] = set()
        """Partitions that were compared in the target's present session."""
        self._begun: dict[int, int] = {}
        """Partition -> from where on this process has delivered it; before that Kafka's word counts."""
        self._back: dict[int, Progress | None] = {}
        """Partition -> what the target has of it, where that is less than was delivered."""
        self._missing: dict[int, int] = {}
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
        self._begun = {number: min(at, reached[number]) for number, at in self._begun.items() if number in reached}
        if self._target.is_open:
            self._compare()
        back, self._back = self._back, {}
        return self._member.goes_back({number: to for number, to in back.items() if number in reached})

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
            number: progress
            for number, progress in self._member.to_note().items()
            if number in self._checked and number not in self._back
        }
        if not moved:
            return
        try:
            self._target.note_progress(self._topic, moved)
        except (TransientError, AuthError) as error:  # what landed has landed
            self._failed(error)
        else:
            self._member.note(moved)
            if self._failing_since is not None:
                self._failing_since = None
                self._health.note(_UNNOTED, None)
        now = time.monotonic()
        self._next_at = now + min((now - began) / _SHARE, _PAUSE)

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
        reached, topic = self._member.reached(), self._topic
        self._checked &= reached.keys()
        unchecked = reached.keys() - self._checked
        if not unchecked or not topic:
            return
        found = None if self._is_refused else self._target.progress(topic)
        self._member.is_noted = found is not None
        if found is None:
            return
        noted = self._member.noted()
        for number in unchecked:
            has = found.get(number)
            is_earlier = number in noted and (has is None or has.offset < noted[number])
            if is_earlier:
                self._tell(number, noted[number], has)
                self._back[number] = has
                self._begun[number] = 0 if has is None else has.offset
            elif number in self._begun:  # delivered, whether that was noted or not
                back = max(self._begun[number], 0 if has is None else has.offset)
                if back < reached[number]:
                    self._back[number] = Progress(back, 0.0)
            else:
                self._begun[number] = reached[number]
        self._checked |= unchecked

    @property
    def _topic(self) -> str:
        """What is noted is noted for: a topic that was made again is another one."""
        return f"{self._member.events} {self._member.events_id}" if self._member.events_id else ""

    def _tell(self, number: int, had: int, has: Progress | None) -> None:
        since = "the beginning" if has is None else _utc(has.noted_at)
        found = (
            f"the target was found in an earlier state at {_utc(time.time())} (it was restored, made again or a standby"
            f" that lagged): events since {since}"
        )
        where = f"{self._member.events} (partition {number})"
        has_offset = 0 if has is None else has.offset
        _log.warning(
            "flow %s: %s are delivered again: of %s it had %d, and has %d", self._flow, found, where, had, has_offset
        )
        self._health.note(_NOTE, f"{found} are delivered again{_NOT_AGAIN}")
        self._missing[number] = max(had, self._missing.get(number, 0))
        self._told = found, time.monotonic() + _TOLD_FOR

    def _catch_up(self, reached: dict[int, int], told: tuple[str, float]) -> None:
        found, until = told
        lacked = bool(self._missing)
        self._missing = {number: had for number, had in self._missing.items() if reached.get(number, had) < had}
        if lacked and not self._missing:
            _log.warning("flow %s: %s have been delivered again", self._flow, found)
            self._health.note(_NOTE, f"{found} have been delivered again{_NOT_AGAIN}")
        if time.monotonic() > until:
            self._health.note(_NOTE, None)
            self._told = None


def _utc(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))
