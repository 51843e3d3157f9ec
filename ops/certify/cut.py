"""A consistent cut through all systems that hold a data type, compared while writers go on writing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import NamedTuple

from sorbus.checksums import ChecksumReader, ComparedPart, FieldTotal, RecordTexts
from sorbus.errors import AuthError, TransientError, UsageError
from sorbus.map.loaded import LoadedMap
from sorbus.map.steps import step_of
from sorbus.mapfile.model import STEP
from sorbus.ops.certify.certificate import Certificate, FlowCertificate, NumberRows, TopicPart
from sorbus.ops.reconcile.barrier import FlowBarrier, Patience
from sorbus.ops.reconcile.by_checksums import Progress, SegmentComparison, compare_segments
from sorbus.ops.reconcile.comparable_flow import ComparableFlow, OpenedFlow
from sorbus.privacy.mask import PERSONAL
from sorbus.settings import Settings
from sorbus.two_way.expand import KIND as MERGE

_MOST_SUSPECTS = 100_000
_NUMBER = re.compile(r"-?[0-9]+([.][0-9]+)?")


class _Held(NamedTuple):
    """A flow that takes part: its owner's reader holds the cut's snapshot."""

    flow: ComparableFlow
    opened: OpenedFlow
    barrier: FlowBarrier


class Certification:
    """Certifies one data type of a map. `wait`: seconds that a flow may take to deliver what the owner held."""

    def __init__(
        self, loaded: LoadedMap, data_type: str, settings: Settings, progress: Progress, *, wait: float
    ) -> None:
        self._loaded, self._data_type, self._settings = loaded, data_type, settings
        self._progress, self._wait = progress, wait

    def run(self, at: Callable[[], None] = lambda: None) -> Certificate:
        """Takes the cut as soon as `at`, called when all systems are connected, returns. TransientError, AuthError,
        MapError; UsageError where no flow can be certified.
        """
        company = self._loaded.map
        if company.systems[maker := company.owner_of(self._data_type)].kind in (STEP, MERGE):
            raise UsageError(self._no_owner(maker))
        made = Certificate(
            company.company, self._data_type, company.owner_of(self._data_type), datetime.now(UTC), datetime.now(UTC)
        )
        with ExitStack() as stack:
            held = self._hold(stack, made)
            if not held:
                reasons = "; ".join(f"{flow}: {why}" for flow, why in made.not_certified.items())
                raise UsageError(f"no flow of {self._data_type} can be certified: {reasons or 'none runs'}")
            at()
            made.as_of = self._cut(held)
            for each in held:
                try:
                    made.flows.append(self._certify(each))
                except (TransientError, AuthError) as error:
                    made.not_certified[each.flow.flow.flow.id] = str(error)
        made.made_at = datetime.now(UTC)
        return made

    def _no_owner(self, maker: str) -> str:
        """Why what Sorbus itself makes can't be certified, and what to do instead."""
        name, flows = self._data_type, self._loaded.map.flows
        if (step := step_of(self._loaded.map, maker)) is not None:
            why = f"{name} is made by the step {maker}, and no system owns it: certify {step.source}"
        else:
            why = f"{name} is merged from several systems, none of which has all of it"
        flow = next((one.id for one in flows if one.data_type == name and one.runs), "FLOW")
        return f"{why}; `sorbus reconcile {flow}` compares the target with what was published"

    def _hold(self, stack: ExitStack, made: Certificate) -> list[_Held]:
        """Opens every flow that can take part; a target that is away must not keep the others from being certified."""
        held = []
        for flow in self._loaded.map.flows:
            if flow.data_type != self._data_type:
                continue
            if not flow.runs:
                made.not_certified[flow.id] = f"by hand ({flow.manual.schedule})" if flow.manual else "not integrated"
                continue
            try:
                found = ComparableFlow(self._loaded, flow.id, self._settings)
                held.append(_Held(found, found.open(stack), found.barrier(stack)))
            except (UsageError, TransientError, AuthError) as error:
                made.not_certified[flow.id] = str(error)
        return held

    def _cut(self, held: list[_Held]) -> datetime:
        """One snapshot of the owner for all flows; when it was taken."""
        shared: str | None = None
        for each in held:
            owner = each.opened.sides.owner
            owner.snapshot(shared)
            if shared is None:
                shared = owner.share()
        return datetime.now(UTC)

    def _certify(self, held: _Held) -> FlowCertificate:
        sides, algorithm = held.opened.sides, held.opened.algorithm
        not_compared = list(held.opened.not_compared)
        behind = held.barrier.pass_now(self._wait, lambda: self._progress("waiting for the flow", 0, 1))
        sides.target.snapshot()
        found = compare_segments(sides, self._progress)
        not_compared += held.opened.nameless()
        numbers = self._numbers(sides.parts[""])
        totals = _totals(*sides.both(lambda side: side.totals("", numbers)))
        ids = found.ids
        if len(ids) > _MOST_SUSPECTS:
            raise TransientError(
                f"{len(ids):,} records differ, too many to name: heal or replay {held.flow.flow.flow.id} first"
            )
        made = FlowCertificate(
            held.flow.flow.flow.id,
            held.flow.flow.system.name,
            algorithm.partition(" ")[0],
            found.segments,
            {part: [field.name for field in compared.fields] for part, compared in sides.parts.items()},
            [*not_compared, *([f"{behind.sentence} when the cut was taken"] if behind else [])],
            found.parts,
            totals,
            found.suspects,
            self._values(sides.owner, sides.target, found, numbers),
        )
        barrier = Patience(held.barrier, self._wait)
        for verdicts, differences in held.flow.settle(sides, ids, barrier, self._progress):
            made.differences += differences
            made.undecided += verdicts.undecided
            made.explained |= dict.fromkeys(verdicts.kept, f"only {made.target} has it: the flow ignores deletes")
            for pair in verdicts.respelled.items():
                made.explained |= dict.fromkeys(pair, f"{made.target} writes its id in another way")
        concluded = {one.id for one in made.differences} | set(made.undecided)
        made.explained = {id: why for id, why in made.explained.items() if id in ids and id not in concluded}
        if held.opened.topic is not None:
            made.from_topic = TopicPart(held.opened.from_topic)
            made.not_compared = [*made.not_compared, *self._compare_topic(held, made, barrier, found.target_records)]
        return made

    def _compare_topic(self, held: _Held, made: FlowCertificate, barrier: Patience, records: int) -> Iterator[str]:
        """Compares the fields that no sum holds; what could not be compared, a sentence each."""
        sides, part = held.opened.topic, made.from_topic
        assert sides is not None
        known = {one.id for one in made.differences}
        found = sides.owner.suspects(sides.target, self._progress)
        if why := found.uncounted(records, sum(one.cause == "foreign" for one in made.differences)):
            yield why
        ids = [id for id in found.differing if id not in known]
        for verdicts, differences in held.flow.settle(sides, ids, barrier, self._progress):
            part.differences += differences
            part.undecided += verdicts.undecided
        known |= {one.id for one in part.differences}
        part.differences += held.flow.undelivered(sides, [id for id in found.undelivered if id not in known], barrier)

    def _numbers(self, part: ComparedPart) -> list[str]:
        """The record's number fields that aren't personal."""
        schema = self._loaded.schema(self._data_type).by_name
        return [
            field.name
            for field in part.fields
            if field.form in ("integer", "number") and PERSONAL not in schema[field.assignment.source or ""].tags
        ]

    def _values(
        self, owner: ChecksumReader, target: ChecksumReader, found: SegmentComparison, numbers: list[str]
    ) -> dict[str, tuple[NumberRows, NumberRows]]:
        """The number fields of the suspects as of the cut."""
        ids = [one.id for one in found.suspects if not one.part]
        values = {}
        for at in range(0, len(ids), 1000):
            chunk = ids[at : at + 1000]
            mine, theirs = owner.records(chunk), target.records(chunk)
            for id in chunk:
                values[id] = (_only(mine.get(id), numbers), _only(theirs.get(id), numbers))
        return values


def refuse_past(moment: datetime) -> None:
    """UsageError for a moment that has passed."""
    if moment < datetime.now(UTC):
        raise UsageError(
            f"{moment.isoformat()} has passed, and what the systems held then can't be read any more: certify a moment"
            " to come, or restore a backup of that moment and certify it"
        )


def wait_until(moment: datetime, sleep: Callable[[float], object], progress: Progress) -> None:
    """Until then."""
    left = (moment - datetime.now(UTC)).total_seconds()
    whole = max(left, 1.0)
    while left > 0:
        progress(f"waiting for {moment.astimezone():%Y-%m-%d %H:%M:%S}", int(whole - left), int(whole))
        sleep(min(left, 1.0))
        left = (moment - datetime.now(UTC)).total_seconds()


def _totals(owner: object, target: object) -> dict[str, tuple[FieldTotal, FieldTotal]]:
    assert isinstance(owner, dict)
    assert isinstance(target, dict)
    return {name: (total, target[name]) for name, total in owner.items() if name in target}


def _only(record: RecordTexts | None, names: list[str]) -> NumberRows:
    if record is None or record.values is None:
        return ()
    rows = [record.values, *record.others]
    return [{name: _number(row[name]) for name in names if name in row} for row in rows]


def _number(text: str | None) -> str | None:
    """As totals count it: what a person has written there that is no number is none."""
    return text if text is not None and _NUMBER.fullmatch(text) else None
