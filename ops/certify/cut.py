"""A consistent cut through all systems that hold a data type, compared while writers go on writing."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import NamedTuple

from sorbus.checksums import ChecksumReader, ComparedPart, FieldTotal, RecordTexts
from sorbus.errors import AuthError, TransientError, UsageError
from sorbus.map.loaded import LoadedMap
from sorbus.map.steps import step_of
from sorbus.mapfile.model import STEP
from sorbus.ops.certify.certificate import Certificate, FlowCertificate
from sorbus.ops.reconcile.barrier import FlowBarrier, Patience
from sorbus.ops.reconcile.by_checksums import Progress, SegmentComparison, compare_segments
from sorbus.ops.reconcile.comparable_flow import ComparableFlow, OpenedFlow
from sorbus.privacy.mask import PERSONAL
from sorbus.settings import Settings
from sorbus.two_way.expand import KIND as MERGE

_MOST_SUSPECTS = 100_000


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

    def run(self) -> Certificate:
        """Takes the cut now. TransientError, AuthError, MapError; UsageError where no flow can be certified."""
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
        not_compared = [*held.opened.not_compared, *held.opened.from_topic]
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
        for verdicts, differences in held.flow.settle(sides, ids, Patience(held.barrier, self._wait), self._progress):
            made.differences += differences
            made.undecided += verdicts.undecided
        return made

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
    ) -> dict[str, tuple[dict[str, str | None] | None, dict[str, str | None] | None]]:
        """The number fields of the suspects as of the cut."""
        ids = [one.id for one in found.suspects if not one.part]
        values = {}
        for at in range(0, len(ids), 1000):
            chunk = ids[at : at + 1000]
            mine, theirs = owner.records(chunk), target.records(chunk)
            for id in chunk:
                values[id] = (_only(mine.get(id), numbers), _only(theirs.get(id), numbers))
        return values


def wait_until(moment: datetime, sleep: Callable[[float], object], progress: Progress) -> None:
    """Until then; UsageError for a moment that has passed."""
    left = (moment - datetime.now(UTC)).total_seconds()
    if left < 0:
        raise UsageError(
            f"{moment.isoformat()} has passed, and what the systems held then can't be read any more: certify a moment"
            " to come, or restore a backup of that moment and certify it"
        )
    whole = max(left, 1.0)
    while left > 0:
        progress(f"waiting for {moment.astimezone():%Y-%m-%d %H:%M:%S}", int(whole - left), int(whole))
        sleep(min(left, 1.0))
        left = (moment - datetime.now(UTC)).total_seconds()


def in_words(made: Certificate) -> list[str]:
    """The certificate for people, a line each."""
    lines = [f"{made.data_type} as of {made.as_of.astimezone():%Y-%m-%d %H:%M:%S %Z}, owner {made.owner}"]
    for each in made.flows:
        differ = len(each.differences)
        outcome = "agrees" if each.is_whole else "no difference found"
        if differ:
            outcome = (
                f"{'agrees but for' if each.is_whole else 'differs by'} {differ:,} record{'s' if differ != 1 else ''}"
            )
        moved = f"; {len(each.moved):,} were on their way and agree" if each.moved else ""
        lines.append(f"  {each.flow}: {each.records:,} records, {outcome}{moved}")
        for name, (owner, target) in each.totals.items():
            there = "" if owner == target else f" ({target.total} in {each.target} at that moment)"
            lines.append(f"    {name}: total {owner.total}{there}")
        lines += [f"    {one.kind} {one.id}: {one.why}" for one in each.differences[:20]]
        lines += [f"    not compared: {sentence}" for sentence in each.not_compared]
        if each.undecided:
            lines.append(f"    {len(each.undecided):,} records change faster than they can be compared")
    lines += [f"  {flow}: not certified: {why}" for flow, why in made.not_certified.items()]
    return lines


def _totals(owner: object, target: object) -> dict[str, tuple[FieldTotal, FieldTotal]]:
    assert isinstance(owner, dict)
    assert isinstance(target, dict)
    return {name: (total, target[name]) for name, total in owner.items() if name in target}


def _only(record: RecordTexts | None, names: list[str]) -> dict[str, str | None] | None:
    if record is None or record.values is None:
        return None
    return {name: record.values[name] for name in names if name in record.values}
