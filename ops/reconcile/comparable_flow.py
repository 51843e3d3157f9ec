"""A flow whose owner and target both compute checksums: opening both sides, and settling what differs."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from typing import NamedTuple, cast

from sorbus.bus.names import Names
from sorbus.checksums import (
    ComparedPart,
    HashFunction,
    SupportsExpectedRecords,
    SupportsMarks,
    SupportsOwnerChecksums,
    SupportsTargetChecksums,
    TargetChecksumReader,
)
from sorbus.connector import BoundFlow, BoundSource, BoundSystem
from sorbus.drift.store import DriftStore
from sorbus.errors import UsageError
from sorbus.map.loaded import LoadedMap
from sorbus.ops.reconcile.barrier import FlowBarrier
from sorbus.ops.reconcile.by_checksums import Barrier, Progress, RecordSides, Sides, Verdicts, decide
from sorbus.ops.reconcile.by_topic import TopicRecords, TopicSides
from sorbus.ops.reconcile.finding import RecordDifference
from sorbus.ops.reconcile.key_spelling import key_spelling, respelled
from sorbus.ops.reconcile.published import PublishedRecords
from sorbus.ops.reconcile.reasons import Reasons
from sorbus.settings import Settings
from sorbus.state.database import State
from sorbus.waiting.complete import consumer_of

_REFUSED = "the target has an older state: the flow would refuse the newest, or hold it"


class OpenedFlow(NamedTuple):
    """Both sides' readers, the hash that they have in common, and what isn't compared at all, a sentence each.

    `from_topic`: the fields that are compared from what the topic holds, with the reason; `topic` compares them.
    """

    sides: Sides
    algorithm: str
    not_compared: list[str]
    from_topic: list[str]
    topic: TopicSides | None

    def nameless(self) -> Iterator[str]:
        """Rows met so far that are no records on either side, a sentence each."""
        for name, side in (("owner", self.sides.owner), ("target", self.sides.target)):
            if side.nameless:
                yield f"rows of the {name} whose key is not text in UTF-8, which are no records: {side.nameless:,}"


class ComparableFlow:
    """One flow of a map, bound to both connectors."""

    def __init__(self, loaded: LoadedMap, flow: str, settings: Settings) -> None:
        """UsageError where its systems don't compute checksums."""
        self.flow: BoundFlow = loaded.flow(flow)
        if self.flow.flow.where is not None:
            raise UsageError(f"{flow} has a condition (`where`), which databases can't evaluate: no checksums")
        data_type = self.flow.flow.data_type
        owner = loaded.map.owner_of(data_type)
        self.source: BoundSource = loaded.source(data_type)
        self.owner: BoundSystem = loaded.system(owner)
        self._settings, self._state = settings, State.of(loaded.map.topic_prefix)
        self._topic = Names(loaded.map.topic_prefix).topic(data_type)
        producer, consumer = loaded.producer(owner), loaded.consumer(self.flow.flow.to)
        if not (isinstance(producer, SupportsOwnerChecksums) and isinstance(producer, SupportsMarks)):
            raise UsageError(f"{owner} (kind {self.owner.system.kind}) can't be compared by checksums")
        if not isinstance(consumer, SupportsTargetChecksums):
            kind = self.flow.system.system.kind
            raise UsageError(f"{self.flow.system.name} (kind {kind}) can't be compared by checksums")
        self._producer, self._marks, self._consumer = producer, cast("SupportsMarks", producer), consumer
        self._connector = loaded.consumer(self.flow.flow.to)
        self._reasons: Reasons | None = None

    @property
    def ignores_extra(self) -> bool:
        """Whether the target may keep records that the owner has deleted."""
        return self.flow.flow.deletes == "ignore"

    @property
    def _defaulted(self) -> Collection[str]:
        """Canonical fields that the flow fills where the owner has nothing."""
        return self.flow.flow.defaults if self.flow.flow.on_incomplete == "default" else ()

    def _undefaulted(self, parts: dict[str, ComparedPart]) -> dict[str, ComparedPart]:
        """Without the fields that are filled on the way."""
        kept = [one for one in parts[""].fields if one.assignment.source not in self._defaulted]
        return {**parts, "": parts[""]._replace(fields=kept)}

    def open(self, stack: ExitStack) -> OpenedFlow:
        """Connects to both systems. UsageError where they can't be compared; TransientError, AuthError, MapError."""
        common = set(self._producer.hash_algorithms(self.owner))
        algorithm = next((one for one in self._consumer.hash_algorithms(self.flow.system) if one in common), None)
        if algorithm is None:
            raise UsageError(
                f"{self.owner.name} and {self.flow.system.name} have no hash function in common: one of the databases"
                " stores text neither in UTF-8 nor in LATIN1, 2, 5 or 9"
            )
        hashing = HashFunction(algorithm, secrets.randbits(62))
        self._refuse_lost_columns()
        wanted = self._consumer.compared_parts(self.flow)
        parts = self._producer.comparable(self.owner, self.source, self._undefaulted(wanted))
        left = remaining(wanted, parts)
        sentences = list(left_out(left, self._defaulted))
        not_compared: list[str] = []
        if self.ignores_extra:
            not_compared.append("records that only the target has: the flow ignores deletes")
        owner = stack.enter_context(closing(self._producer.owner_checksums(self.owner, self.source, parts, hashing)))
        target = stack.enter_context(closing(self._consumer.target_checksums(self.flow, parts, hashing)))
        topic: TopicSides | None = None
        if sentences and isinstance(self._consumer, SupportsExpectedRecords):
            expected = stack.enter_context(closing(self._consumer.expected_records(self.flow, left)))
            there = stack.enter_context(closing(self._consumer.target_checksums(self.flow, left, hashing)))
            records = TopicRecords(self.flow, expected, consumer_of(self._connector, self.flow), self._settings)
            topic = TopicSides(records, there)
        else:
            not_compared += sentences
        return OpenedFlow(
            Sides(owner, target, parts), algorithm, not_compared, sentences if topic is not None else [], topic
        )

    def _refuse_lost_columns(self) -> None:
        """A column that the owner lost is no empty field: its records wait until a person settles that."""
        for one in DriftStore(self._state).findings(self.owner.name):
            if one.data_type == self.source.name and one.what == "missing":
                raise UsageError(
                    f"{self.flow.flow.id} can't be compared: {one.words} in {self.owner.name} ({one.resource}); correct"
                    f" the mapping, or sorbus drift settle {one.number}"
                )

    def barrier(self, stack: ExitStack) -> FlowBarrier:
        """What waits for the flow. TransientError, AuthError."""
        return stack.enter_context(closing(FlowBarrier(self.flow, self.owner, self._marks, self._settings)))

    def settle(
        self, sides: Sides | TopicSides, ids: Sequence[str], barrier: Barrier, progress: Progress
    ) -> Iterator[tuple[Verdicts, list[RecordDifference]]]:
        """Reads these records again until each agrees or surely differs; differences with their reasons."""
        ignores_extra = self.ignores_extra or isinstance(
            sides, TopicSides
        )  # one that can't be delivered isn't expected
        target = cast("TargetChecksumReader", sides.target)
        published = PublishedRecords(self._settings, self._topic, ids)
        spelling = key_spelling(sides, target, ids)
        asked: RecordSides = sides
        if spelling.same:
            asked, ids = respelled(sides, ids, spelling.same)
            yield Verdicts([], 0, [], respelled=spelling.same), []
        for verdicts in decide(asked, ids, barrier, progress, ignores_extra=ignores_extra):
            found = [spelling.explained(one) for one in verdicts.differences]
            yield verdicts, self._explained(target, found, published)

    def undelivered(self, sides: TopicSides, ids: Sequence[str], barrier: Barrier) -> list[RecordDifference]:
        """Those of these records whose newest event the flow still can't deliver after the barrier, with the reason."""
        if not ids:
            return []
        behind = barrier()
        left = sides.owner.among(sides.target, ids).undelivered
        if behind is not None:
            return [RecordDifference(id, "stale", (), behind.sentence, behind.cause) for id in left]
        found = [RecordDifference(id, "stale", (), _REFUSED, "undeliverable") for id in left]
        return self._explained(sides.target, found, PublishedRecords(self._settings, self._topic, ()))

    def _explained(
        self, target: TargetChecksumReader, found: Sequence[RecordDifference], published: PublishedRecords
    ) -> list[RecordDifference]:
        if not found:
            return []
        if self._reasons is None:
            self._reasons = Reasons(self.flow, self.owner.name, self._settings, self._state)
        extra = [one.id for one in found if one.kind == "extra"]
        written = target.written(extra) if extra else {}
        if asked := [id for id in extra if id not in written]:
            known = published.of(asked)
            written |= {id: id in known for id in asked}
        return [self._reasons.explain(one, is_foreign=not written.get(one.id, True)) for one in found]


def remaining(wanted: Mapping[str, ComparedPart], parts: Mapping[str, ComparedPart]) -> dict[str, ComparedPart]:
    """The fields that checksums don't compare, to be compared in the target's own types; the record's part always."""
    found = {}
    for part, compared in wanted.items():
        there = {field.name for field in parts[part].fields} if part in parts else set()
        left = [field._replace(form="native") for field in compared.fields if field.name not in there]
        if left or not part:
            found[part] = compared._replace(fields=left)
    return found


def left_out(parts: Mapping[str, ComparedPart], defaulted: Collection[str]) -> Iterator[str]:
    """Fields that can't be compared by checksums, a sentence each."""
    for part, compared in parts.items():
        for field in compared.fields:
            rule = field.assignment.rule
            why = f"rule {rule.text}" if rule is not None else "SQL can't write it as the mapping does"
            if field.assignment.source in defaulted and not part:
                why = "the flow has a default for it"
            yield f"field {f'{part}[].' if part else ''}{field.name}: {why}"
