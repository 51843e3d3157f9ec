"""Comparing by checksums: both databases sum segments at once, only what differs is read, and read again to be sure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import NamedTuple

from sorbus.checksums import ChecksumReader, ComparedPart, RecordTexts, RowDigest, SegmentSum
from sorbus.ops.reconcile.finding import DifferenceKind, FieldDifference, RecordDifference

_RECORDS_PER_SEGMENT = 128
_MOST_SEGMENTS = 1 << 17
_CHUNK = 1000
_ROUNDS = 20
"""Times a record is read again that keeps changing, before it is left undecided."""

Progress = Callable[[str, int, int], None]
Barrier = Callable[[], str | None]
"""Waits until the target has what the owner held when it was called; who is behind, if that takes too long."""


class Sides(NamedTuple):
    """The readers of both sides, and what they compare."""

    owner: ChecksumReader
    target: ChecksumReader
    parts: Mapping[str, ComparedPart]

    def snapshot(self) -> None:
        """Both as of now."""
        self.owner.snapshot()
        self.target.snapshot()

    def both(self, ask: Callable[[ChecksumReader], object]) -> tuple[object, object]:
        """Asks both at the same time."""
        with ThreadPoolExecutor(2, thread_name_prefix="reconcile") as pool:
            asked = pool.submit(ask, self.owner), pool.submit(ask, self.target)
            return asked[0].result(), asked[1].result()


class SegmentComparison(NamedTuple):
    """What comparing the segments showed: the sides' records, and the ids of those that differ, in flight or not."""

    owner_records: int
    target_records: int
    suspects: list[str]


class Verdicts(NamedTuple):
    """The differences that were confirmed, how many suspects had only been in flight, and how many keep changing."""

    differences: list[RecordDifference]
    in_flight: int
    undecided: int


def compare_segments(sides: Sides, progress: Progress) -> SegmentComparison:
    """Compares both sides as of now. TransientError, AuthError."""
    sides.snapshot()
    owner, target = sides.both(lambda side: side.count())
    segments = segments_for(max(int(str(owner)), int(str(target))))
    counts = (0, 0)
    suspects: dict[str, None] = {}
    for number, part in enumerate(sorted(sides.parts)):
        progress(f"checksums of {part or 'records'}", number, len(sides.parts))
        found = sides.both(lambda side, part=part: side.sums(part, segments))  # type: ignore[misc]
        mine, theirs = (_sums(each) for each in found)
        if not part:
            counts = sum(each.records for each in mine.values()), sum(each.records for each in theirs.values())
        differing = sorted(each for each in mine.keys() | theirs.keys() if mine.get(each) != theirs.get(each))
        if differing:
            progress(f"reading {len(differing):,} of {segments:,} segments", number, len(sides.parts))
            for id in differing_ids(
                sides.owner.digests(part, segments, differing), sides.target.digests(part, segments, differing)
            ):
                suspects[id] = None
    return SegmentComparison(*counts, list(suspects))


def differing_records(sides: Sides, ids: Sequence[str], progress: Progress) -> Iterator[str]:
    """Those of these records that differ as of now."""
    for at in range(0, len(ids), _CHUNK):
        progress("reading changed records", at, len(ids))
        chunk = ids[at : at + _CHUNK]
        sides.snapshot()
        owner, target = sides.owner.records(chunk), sides.target.records(chunk)
        yield from (id for id in chunk if owner.get(id) != target.get(id))


def segments_for(records: int) -> int:
    """How many segments: a power of two, so that a segment that differs is cheap to read."""
    wanted = max(1, min(_MOST_SEGMENTS, records // _RECORDS_PER_SEGMENT))
    return 1 << (wanted - 1).bit_length()


def differing_ids(mine: Iterator[RowDigest], theirs: Iterator[RowDigest]) -> Iterator[str]:
    """The ids that only one side has, or of which the sides' digests differ; both in the order of segments."""
    left, right = _by_segment(mine), _by_segment(theirs)
    one, other = next(left, None), next(right, None)
    while one is not None or other is not None:
        if other is None or (one is not None and one[0] < other[0]):
            assert one is not None
            yield from one[1]
            one = next(left, None)
        elif one is None or other[0] < one[0]:
            yield from other[1]
            other = next(right, None)
        else:
            for id in one[1].keys() | other[1].keys():
                if one[1].get(id) != other[1].get(id):
                    yield id
            one, other = next(left, None), next(right, None)


def decide(
    sides: Sides, suspects: Sequence[str], barrier: Barrier, progress: Progress, *, ignores_extra: bool
) -> Iterator[Verdicts]:
    """Reads suspects again, a chunk at a time, until each agrees, or differs although the target had time to get it.

    A difference counts once the owner's record was the same before and after the flow passed it, twice in a row.
    """
    for at in range(0, len(suspects), _CHUNK):
        progress("reading differing records again", at, len(suspects))
        yield _decide(sides, suspects[at : at + _CHUNK], barrier, ignores_extra=ignores_extra)


def _decide(sides: Sides, ids: Sequence[str], barrier: Barrier, *, ignores_extra: bool) -> Verdicts:
    differences: list[RecordDifference] = []
    in_flight, left = 0, list(ids)
    before: dict[str, tuple[RecordTexts | None, RecordTexts | None]] = {}
    behind: str | None = None
    for _ in range(_ROUNDS):
        sides.owner.snapshot()
        owner = sides.owner.records(left)
        behind = barrier()
        sides.target.snapshot()
        target = sides.target.records(left)
        unsettled = []
        for id in left:
            mine, theirs = owner.get(id), target.get(id)
            if mine == theirs:
                in_flight += 1
            elif before.get(id) == (mine, theirs) or behind is not None:
                if not (ignores_extra and mine is None):
                    differences.append(_difference(id, mine, theirs, behind))
            else:
                before[id] = (mine, theirs)
                unsettled.append(id)
        left = unsettled
        if not left:
            break
    return Verdicts(differences, in_flight, len(left))


def _difference(id: str, owner: RecordTexts | None, target: RecordTexts | None, behind: str | None) -> RecordDifference:
    has_owner, has_target = (side is not None and side.values is not None for side in (owner, target))
    kind: DifferenceKind = "different" if has_owner and has_target else "missing" if has_owner else "extra"
    if behind is not None:
        kind = "stale"
    fields = list(_fields(owner, target)) if owner and target and has_owner and has_target else ()
    return RecordDifference(id, kind, fields, behind or "")


def _fields(owner: RecordTexts, target: RecordTexts) -> Iterator[FieldDifference]:
    theirs_by_name = target.values or {}
    for name, value in (owner.values or {}).items():
        if value != theirs_by_name.get(name):
            yield FieldDifference(name, value, theirs_by_name.get(name))
    for part in sorted(owner.items.keys() | target.items.keys()):
        mine, theirs = owner.items.get(part, ()), target.items.get(part, ())
        if len(mine) != len(theirs):
            yield FieldDifference(f"{part}[]", f"{len(mine)} items", f"{len(theirs)} items")
        for place, (one, other) in enumerate(zip(mine, theirs, strict=False), start=1):
            for name in one:
                if one[name] != other.get(name):
                    yield FieldDifference(f"{part}[{place}].{name}", one[name], other.get(name))


def _by_segment(rows: Iterator[RowDigest]) -> Iterator[tuple[int, dict[str, list[tuple[int, int]]]]]:
    for segment, among in groupby(rows, lambda row: row.segment):
        found: dict[str, list[tuple[int, int]]] = {}
        for row in among:
            found.setdefault(row.id, []).append((row.rows, row.digest))
        for each in found.values():
            each.sort()
        yield segment, found


def _sums(found: object) -> dict[int, SegmentSum]:
    assert isinstance(found, dict)
    return found
