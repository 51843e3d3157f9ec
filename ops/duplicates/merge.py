"""Merging duplicates in a target: one survives and is linked, the others are recorded and removed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

from sorbus.abilities import SupportsMerge
from sorbus.deadletter import DeadLetter
from sorbus.errors import SorbusError
from sorbus.identity.candidates import Candidates, DuplicateCandidate
from sorbus.identity.crosswalk import Crosswalk, place
from sorbus.identity.merged import SORBUS, Merged, MergedRecords, Way
from sorbus.map.loaded import LoadedMap
from sorbus.map.resources import target_resources
from sorbus.ops.decisions.requeue import RecordRequeue
from sorbus.settings import Settings
from sorbus.state.database import State


class MergeResult(NamedTuple):
    """What came of it: the record's dead letters that were requeued, and each duplicate, done or still due."""

    letters: list[DeadLetter]
    merged: list[Merged]


class RecordMerger:
    """Merges duplicates in the targets of a map."""

    def __init__(self, loaded: LoadedMap, settings: Settings, state: State) -> None:
        self._loaded, self._state = loaded, state
        self._requeue = RecordRequeue(loaded.map, settings, state)
        self._candidates, self._merged = Candidates(state), MergedRecords(state)

    def ways(self, candidate: DuplicateCandidate) -> frozenset[Way]:
        """How doubles can go in the candidate's system; a person's own hand can always."""
        with self._target(candidate.system, candidate.data_type, candidate.resource) as target:
            return frozenset({"person"} if target is None else {"person", *target.ways()})

    def merge(
        self,
        candidate: DuplicateCandidate,
        survivor: str,
        others: Collection[str],
        way: Way,
        *,
        who: str,
        reason: str,
    ) -> MergeResult:
        """Writes it down, takes the doubles away, and sends the record's letters back, in this order.

        What can't be taken away now stays due, with the reason. SorbusError when it can't be done at all;
        TransientError when Kafka is out of reach: before, with nothing decided, or after, which it says.
        """
        self._check(candidate, survivor, others, way)
        letters = self._requeue.letters(candidate.system, candidate.data_type, candidate.id, candidate.resource)
        self._candidates.merge(candidate.number, survivor, others, way, who=who, reason=reason)
        merged = self.carry_out(self._merged.of_candidate(candidate.number))
        self._requeue.send(letters)
        return MergeResult(letters, merged)

    def carry_out(self, merged: Sequence[Merged]) -> list[Merged]:
        """Tries those that are due and need no person, once each; all of `merged` as they are then."""
        left: dict[str, str] = {}
        for one in merged:
            if one.state == "due" and one.way != "person":
                left[one.survivor] = self._retire(replace(one, survivor=left.get(one.survivor, one.survivor)))
        numbers = dict.fromkeys(one.candidate for one in merged)
        return [one for number in numbers for one in self._merged.of_candidate(number)]

    def _retire(self, one: Merged) -> str:
        """Takes one away if that can be done and is wanted still; the survivor's id afterwards."""
        assert one.way != "person"
        if not self._merged.is_due(one):
            return one.survivor
        try:
            self._refuse_wanted(one)
            with self._target(one.system, one.data_type, one.resource) as target:
                if target is None or one.way not in target.ways():
                    raise SorbusError(f"{one.system} can't {one.way} records any more; do it by hand")
                left = target.retire(one.external_id, one.survivor, one.way)
        except SorbusError as error:
            self._merged.failed(one, str(error))
            return one.survivor
        self._merged.done(one, SORBUS)
        if left != one.survivor:
            self._merged.moved(one, left)
            self._follow(one, left)
        return left

    def _refuse_wanted(self, one: Merged) -> None:
        """Much may have happened since a person decided that it goes."""
        for claim in self._merged.claims(one.system, one.resource, [one.external_id], one.candidate):
            raise SorbusError(f"{one.external_id} is {claim.data_type} {claim.id} by now, and is left alone")
        question = self._candidates.get(one.candidate)
        if question is None or question.state == "open":
            raise SorbusError(
                f"decision {one.candidate} could not be applied, and {one.external_id} is left alone until"
                f" there is a new decision; see `sorbus duplicates show {one.candidate}`"
            )

    def _follow(self, one: Merged, left: str) -> None:
        """What was linked to the survivor, also by a delivery meanwhile, is linked to its new id."""
        for data_type in self._loaded.map.data_types:
            crosswalk = Crosswalk(self._state, one.system, data_type, one.resource)
            if (id := crosswalk.canonical_of([one.survivor]).get(one.survivor)) is not None:
                crosswalk.rename(id, left)

    def _check(self, candidate: DuplicateCandidate, survivor: str, others: Collection[str], way: Way) -> None:
        if not others:
            raise SorbusError("name the duplicates of the record that is kept, or use link instead")
        if survivor in others:
            raise SorbusError(f"{survivor} can't both stay and go")
        if any(
            one.external_id == survivor for one in self._merged.of_candidate(candidate.number) if one.state == "done"
        ):
            raise SorbusError(f"{survivor} in {candidate.system} is gone: it was merged into another already")
        taken = self._merged.claims(candidate.system, candidate.resource, [survivor, *others], candidate.number)
        for external_id, data_type, id in taken:
            if data_type != candidate.data_type and external_id != survivor:
                raise SorbusError(
                    f"{external_id} in {candidate.system} is {data_type} {id} too, and can't go; let it stay"
                )
            if data_type == candidate.data_type and id != candidate.id:
                raise SorbusError(
                    f"{external_id} in {candidate.system} is {data_type} {id} already; if that is"
                    f" {candidate.data_type} {candidate.id} too, merge them at their owner"
                )
        known = {doubt.external_id for doubt in candidate.doubts}
        if strange := sorted({survivor, *others} - known):
            raise SorbusError(
                f"{', '.join(strange)} is not a possible match ({', '.join(sorted(known))}); only possible matches"
                " can be merged"
            )
        ways = self.ways(candidate)
        if way not in ways:
            raise SorbusError(
                f"{candidate.system} can't {way} records through Sorbus; it can: {', '.join(sorted(ways))}"
            )

    @contextmanager
    def _target(self, system: str, data_type: str, resource: str) -> Iterator[SupportsMerge | None]:
        """The open consumer of a flow into the system; None if it can't take records away."""
        flows = [
            one
            for one in self._loaded.map.flows
            if one.runs
            and (one.to, one.data_type) == (system, data_type)
            and target_resources(self._loaded.map, one).get("", "") == resource
        ]
        if not flows:
            raise SorbusError(f"no flow brings {data_type} to {place(system, resource)} any more")
        consumer = self._loaded.consumer(system)(self._loaded.flow(flows[0].id))
        if not isinstance(consumer, SupportsMerge):
            yield None
            return
        try:
            consumer.open()
            yield consumer
        finally:
            consumer.close()
