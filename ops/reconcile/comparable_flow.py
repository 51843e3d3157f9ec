"""A flow whose owner and target both compute checksums: opening both sides, and settling what differs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from typing import NamedTuple, cast

from sorbus.checksums import (
    ComparedPart,
    SupportsMarks,
    SupportsOwnerChecksums,
    SupportsTargetChecksums,
    TargetChecksumReader,
)
from sorbus.connector import BoundFlow, BoundSource, BoundSystem
from sorbus.errors import UsageError
from sorbus.map.loaded import LoadedMap
from sorbus.ops.reconcile.barrier import FlowBarrier
from sorbus.ops.reconcile.by_checksums import Progress, Sides, Verdicts, decide
from sorbus.ops.reconcile.finding import RecordDifference
from sorbus.ops.reconcile.reasons import Reasons
from sorbus.settings import Settings
from sorbus.state.database import State


class OpenedFlow(NamedTuple):
    """Both sides' readers, the hash that they have in common, and what they can't compare, a sentence each."""

    sides: Sides
    algorithm: str
    not_compared: list[str]


class ComparableFlow:
    """One flow of a map, bound to both connectors."""

    def __init__(self, loaded: LoadedMap, flow: str, settings: Settings) -> None:
        """UsageError where its systems don't compute checksums."""
        self.flow: BoundFlow = loaded.flow(flow)
        data_type = self.flow.flow.data_type
        owner = loaded.map.owner_of(data_type)
        self.source: BoundSource = loaded.source(data_type)
        self.owner: BoundSystem = loaded.system(owner)
        self._settings, self._state = settings, State.of(loaded.map.topic_prefix)
        producer, consumer = loaded.producer(owner), loaded.consumer(self.flow.flow.to)
        if not (isinstance(producer, SupportsOwnerChecksums) and isinstance(producer, SupportsMarks)):
            raise UsageError(f"{owner} (kind {self.owner.system.kind}) can't be compared by checksums")
        if not isinstance(consumer, SupportsTargetChecksums):
            kind = self.flow.system.system.kind
            raise UsageError(f"{self.flow.system.name} (kind {kind}) can't be compared by checksums")
        self._producer, self._marks, self._consumer = producer, cast("SupportsMarks", producer), consumer
        self._reasons: Reasons | None = None

    @property
    def ignores_extra(self) -> bool:
        """Whether the target may keep records that the owner has deleted."""
        return self.flow.flow.deletes == "ignore"

    def open(self, stack: ExitStack) -> OpenedFlow:
        """Connects to both systems. UsageError where they can't be compared; TransientError, AuthError, MapError."""
        common = set(self._producer.hash_algorithms(self.owner))
        algorithm = next((one for one in self._consumer.hash_algorithms(self.flow.system) if one in common), None)
        if algorithm is None:
            raise UsageError(
                f"{self.owner.name} and {self.flow.system.name} have no hash function in common: one of the databases"
                " doesn't store text in UTF-8"
            )
        wanted = self._consumer.compared_parts(self.flow)
        parts = self._producer.comparable(self.owner, self.source, wanted)
        not_compared = list(left_out(wanted, parts))
        if self.ignores_extra:
            not_compared.append("records that only the target has: the flow ignores deletes")
        owner = stack.enter_context(closing(self._producer.owner_checksums(self.owner, self.source, parts, algorithm)))
        target = stack.enter_context(closing(self._consumer.target_checksums(self.flow, parts, algorithm)))
        return OpenedFlow(Sides(owner, target, parts), algorithm, not_compared)

    def barrier(self, stack: ExitStack) -> FlowBarrier:
        """What waits for the flow. TransientError, AuthError."""
        return stack.enter_context(closing(FlowBarrier(self.flow, self.owner, self._marks, self._settings)))

    def settle(
        self, sides: Sides, ids: Sequence[str], barrier: Callable[[], str | None], progress: Progress
    ) -> Iterator[tuple[Verdicts, list[RecordDifference]]]:
        """Reads these records again until each agrees or surely differs; differences with their reasons."""
        for verdicts in decide(sides, ids, barrier, progress, ignores_extra=self.ignores_extra):
            yield verdicts, self._explained(sides, verdicts.differences)

    def _explained(self, sides: Sides, found: Sequence[RecordDifference]) -> list[RecordDifference]:
        if not found:
            return []
        if self._reasons is None:
            self._reasons = Reasons(self.flow, self.owner.name, self._settings, self._state)
        extra = [one.id for one in found if one.kind == "extra"]
        foreign = cast("TargetChecksumReader", sides.target).foreign(extra) if extra else frozenset()
        return [self._reasons.explain(one, is_foreign=one.id in foreign) for one in found]


def left_out(wanted: dict[str, ComparedPart], parts: dict[str, ComparedPart]) -> Iterator[str]:
    """What can't be compared by checksums, a sentence each."""
    for part, compared in wanted.items():
        if part not in parts:
            yield f"list {part}: its owner keeps it in the record itself"
            continue
        there = {field.name for field in parts[part].fields}
        where = f"{part}[]." if part else ""
        for field in compared.fields:
            if field.name not in there:
                rule = field.assignment.rule
                why = f"rule {rule.text}" if rule is not None else "SQL can't write it as the mapping does"
                yield f"field {where}{field.name}: {why}"
