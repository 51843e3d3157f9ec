"""Resolving a possible duplicate: the decision is saved, and the record's dead letters are requeued."""

from __future__ import annotations

from sorbus.deadletter import DeadLetter
from sorbus.errors import SorbusError
from sorbus.identity.candidates import Candidates, Decision, DuplicateCandidate
from sorbus.identity.crosswalk import Crosswalk
from sorbus.mapfile.model import Map
from sorbus.ops.decisions.requeue import RecordRequeue
from sorbus.settings import Settings
from sorbus.state.database import State


class DuplicateResolver:
    """Resolves the duplicate candidates of a map as people decide."""

    def __init__(self, company: Map, settings: Settings, state: State) -> None:
        self._state, self._requeue = state, RecordRequeue(company, settings, state)
        self._candidates = Candidates(state)

    def candidate(self, number: int) -> DuplicateCandidate:
        """The candidate of this number; SorbusError if there is none."""
        found = self._candidates.get(number)
        if found is None:
            raise SorbusError(f"there is no possible duplicate {number}; see `sorbus duplicates list`")
        return found

    def warning(self, candidate: DuplicateCandidate, decision: Decision) -> str:
        """What a person should know before: "" if nothing. SorbusError if the decision can't be carried out."""
        external_id = decision.external_id
        if external_id is None:
            return ""
        crosswalk = Crosswalk(self._state, candidate.system, candidate.data_type, candidate.resource)
        owner = crosswalk.owners_of([external_id]).get(external_id)
        if owner is not None and owner != (candidate.data_type, candidate.id):
            raise SorbusError(
                f"{external_id} in {candidate.place} is {owner.data_type} {owner.id} already, and can't be"
                f" {candidate.id} too; if both are the same, merge them at their owner"
            )
        if external_id not in {doubt.external_id for doubt in candidate.doubts}:
            return f"{external_id} is not one of the possible matches"
        return ""

    def decide(self, number: int, decision: Decision, *, who: str, reason: str) -> list[DeadLetter]:
        """Saves the decision and requeues the record's dead letters; those letters.

        TransientError when Kafka is out of reach: before, with nothing decided, or after, which it says.
        """
        candidate = self.candidate(number)
        letters = self._requeue.letters(candidate.system, candidate.data_type, candidate.id, candidate.resource)
        self._candidates.decide(number, decision, who=who, reason=reason)
        self._requeue.send(letters)
        return letters
