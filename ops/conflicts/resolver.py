"""Resolving a conflict: the decision is saved, and the record's dead letters are requeued."""

from __future__ import annotations

from typing import NamedTuple

from sorbus.conflict.store import Choice, Conflict, Conflicts
from sorbus.deadletter import DeadLetter
from sorbus.mapfile.model import Map
from sorbus.ops.decisions.requeue import RecordRequeue
from sorbus.settings import Settings
from sorbus.state.database import State


class ConflictResolution(NamedTuple):
    """What came of a decision: the record's dead letters that were requeued, or its conflicts that are still open."""

    conflict: Conflict
    letters: list[DeadLetter]
    left: list[Conflict]


class ConflictResolver:
    """Resolves the conflicts of a map as people decide."""

    def __init__(self, company: Map, settings: Settings, state: State) -> None:
        self._state, self._requeue = state, RecordRequeue(company, settings, state)
        self._conflicts = Conflicts(state)

    def decide(self, number: int, choice: Choice, *, who: str, reason: str, shown: str = "") -> ConflictResolution:
        """Saves the decision; when no other conflict of the record is open, requeues its dead letters.

        SorbusError when there is nothing to decide, or what was `shown` is no longer so; TransientError when Kafka is
        out of reach: before, with nothing decided, or after, which it says.
        """
        found = self._conflicts.get(number)
        letters = self._requeue.letters(found.system, found.data_type, found.id, found.resource)
        found = self._conflicts.decide(number, choice, who=who, reason=reason, shown=shown)
        left = Conflicts(self._state, found.system, found.data_type, found.resource).page(id=found.id)
        if left:
            return ConflictResolution(found, [], left)
        self._requeue.send(letters)
        return ConflictResolution(found, letters, [])
