"""Carrying a person's decision out: it is written down, and the record's dead letter goes back to its flow."""

from __future__ import annotations

from typing import NamedTuple

from sorbus.conflict.store import Choice, Conflict, Conflicts
from sorbus.deadletter import DeadLetter
from sorbus.mapfile.model import Map
from sorbus.ops.requeue_after_decision import Onward
from sorbus.settings import Settings
from sorbus.state.database import State


class Decided(NamedTuple):
    """What came of it: the record's letters that were sent back, or its other fields that wait for a word, too."""

    conflict: Conflict
    letters: list[DeadLetter]
    left: list[Conflict]


class ConflictDesk:
    """Where the conflicts of a map are decided."""

    def __init__(self, company: Map, settings: Settings, state: State) -> None:
        self._state, self._onward = state, Onward(company, settings, state)
        self._conflicts = Conflicts(state)

    def decide(self, number: int, choice: Choice, *, who: str, reason: str) -> Decided:
        """Writes it down; when nothing else of the record is open, its dead letter is sent back.

        SorbusError when there is nothing to decide; TransientError when Kafka is out of reach: before, with nothing
        decided, or after, which it says.
        """
        found = self._conflicts.get(number)
        letters = self._onward.letters(found.system, found.data_type, found.id, found.resource)
        found = self._conflicts.decide(number, choice, who=who, reason=reason)
        left = Conflicts(self._state, found.system, found.data_type, found.resource).page(id=found.id)
        if left:
            return Decided(found, [], left)
        self._onward.send(letters)
        return Decided(found, letters, [])
