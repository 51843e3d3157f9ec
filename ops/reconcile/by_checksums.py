"""Comparing by checksums: both databases sum segments at once, only what differs is read, and read again to be sure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import groupby
from typing import NamedTuple, Protocol

from sorbus.checksums import ChecksumReader, ComparedPart, RecordTexts, RowDigest, SegmentSum
from sorbus.ops.reconcile.finding import Behind, DifferenceKind, FieldDifference, RecordDifference

_RECORDS_PER_SEGMENT = 128
_MOST_SEGMENTS = 1 << 17
_CHUNK = 1000
_ROUNDS = 20
"""Times a record is read again that keeps changing, before it is left undecided."""

Progress = Callable[[str, int, int], None]
Barrier = Callable[[], Behind | None]
"""Waits until the target has what the owner held when it was called; who is behind, if that takes too long."""


_NOT_UNIQUE = "the owner has several rows with this key, any of which stands for the record: name a unique `key:`"


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
        """Asks both at the same time; when one fails, or the wait is interrupted, the other's scan ends too."""
        with ThreadPoolExecutor(2, thread_name_prefix="reconcile") as pool:
            asked = [pool.submit(ask, side) for side in (self.owner, self.target)]
            try:
                for one in as_completed(asked):
                    one.result()
            except BaseException:
                self.owner.cancel()
                self.target.cancel()
                raise
            return asked[0].result(), asked[1].result()


class RecordReader(Protocol):
    """What reads single records."""

    def snapshot(self) -> None: ...

    def records(self, ids: Sequence[str]) -> dict[str, RecordTexts]: ...


class RecordSides(Protocol):
    """Two sides whose records can be read one by one."""

    @property
    def owner(self) -> RecordReader: ...

    @property
    def target(self) -> RecordReader: ...


class Suspect(NamedTuple):
    """A record whose digests differ between the sides: each has the rows (or items) of each row, and its digest."""

    part: str
    segment: int
    id: str
    owner: list[tuple[int, int]]
    target: list[tuple[int, int]]


class PartSums(NamedTuple):
    """Both sides' sums of a part, by segment."""

    owner: dict[int, SegmentSum]
    target: dict[int, SegmentSum]

    @property
    def differing(self) -> list[int]:
        """The segments that differ."""
        found = self.owner.keys() | self.target.keys()
        return sorted(each for each in found if self.owner.get(each) != self.target.get(each))


class SegmentComparison(NamedTuple):
    """What comparing the segments showed: sums by part, and the records that differ, in flight or not."""

    segments: int
    parts: dict[str, PartSums]
    suspects: list[Suspect]

    @property
    def owner_records(self) -> int:
        return sum(each.records for each in self.parts[""].owner.values())

    @property
    def target_records(self) -> int:
        return sum(each.records for each in self.parts[""].target.values())

    @property
    def ids(self) -> list[str]:
        """The suspects' ids, each once."""
        return list(dict.fromkeys(one.id for one in self.suspects))


class Verdicts(NamedTuple):
    """The differences that were confirmed, how many suspects had only been in flight, and which keep changing.

    `kept`: records that only the target has, of a flow that ignores deletes; `respelled`: of both sides' ids that are
    one record, those that the target's key column writes in another way, and as what.
    """

    differences: list[RecordDifference]
    in_flight: int
    undecided: list[str]
    kept: Sequence[str] = ()
    respelled: Mapping[str, str] = {}


def compare_segments(sides: Sides, progress: Progress) -> SegmentComparison:
    """Compares both sides as of their snapshots. TransientError, AuthError."""
    owner, target = sides.both(lambda side: side.count())
    segments = segments_for(max(int(str(owner)), int(str(target))))
    parts: dict[str, PartSums] = {}
    suspects: list[Suspect] = []
    for number, part in enumerate(sorted(sides.parts)):
        progress(f"checksums of {part or 'records'}", number, len(sides.parts))
        mine, theirs = sides.both(lambda side, part=part: side.sums(part, segments))  # type: ignore[misc]
        sums = parts[part] = PartSums(_sums(mine), _sums(theirs))
        if differing := sums.differing:
            progress(f"reading {len(differing):,} of {segments:,} segments", number, len(sides.parts))
            left, right = (side.digests(part, segments, differing) for side in (sides.owner, sides.target))
            suspects += (Suspect(part, *found) for found in differing_rows(left, right))
    return SegmentComparison(segments, parts, suspects)


def differing_records(sides: RecordSides, ids: Sequence[str], progress: Progress) -> Iterator[str]:
    """Those of these records that differ as of now."""
    for at in range(0, len(ids), _CHUNK):
        progress("reading changed records", at, len(ids))
        chunk = ids[at : at + _CHUNK]
        sides.owner.snapshot()
        sides.target.snapshot()
        owner, target = sides.owner.records(chunk), sides.target.records(chunk)
        yield from (id for id in chunk if owner.get(id) != target.get(id))


def segments_for(records: int) -> int:
    """How many segments: a power of two, so that a segment that differs is cheap to read."""
    wanted = max(1, min(_MOST_SEGMENTS, records // _RECORDS_PER_SEGMENT))
    return 1 << (wanted - 1).bit_length()


_Digests = list[tuple[int, int]]


def differing_rows(
    mine: Iterator[RowDigest], theirs: Iterator[RowDigest]
) -> Iterator[tuple[int, str, _Digests, _Digests]]:
    """Segment, id and both sides' digests of the records that differ; both sides come in the order of segments."""
    left, right = _by_segment(mine), _by_segment(theirs)
    one, other = next(left, None), next(right, None)
    while one is not None or other is not None:
        segment = min(each[0] for each in (one, other) if each is not None)
        owner = one[1] if one is not None and one[0] == segment else {}
        target = other[1] if other is not None and other[0] == segment else {}
        for id in owner.keys() | target.keys():
            if owner.get(id) != target.get(id):
                yield segment, id, owner.get(id, []), target.get(id, [])
        one = next(left, None) if owner else one
        other = next(right, None) if target else other


def decide(
    sides: RecordSides, suspects: Sequence[str], barrier: Barrier, progress: Progress, *, ignores_extra: bool
) -> Iterator[Verdicts]:
    """Reads suspects again, a chunk at a time, until each agrees, or differs although the target had time to get it.

    A difference counts once the owner's record was the same before and after the flow passed it, twice in a row.
    """
    for at in range(0, len(suspects), _CHUNK):
        progress("reading differing records again", at, len(suspects))
        yield _decide(sides, suspects[at : at + _CHUNK], barrier, ignores_extra=ignores_extra)


def _decide(sides: RecordSides, ids: Sequence[str], barrier: Barrier, *, ignores_extra: bool) -> Verdicts:
    differences: list[RecordDifference] = []
    kept: list[str] = []
    in_flight, left = 0, list(ids)
    before: dict[str, tuple[RecordTexts | None, RecordTexts | None]] = {}
    behind: Behind | None = None
    for _ in range(_ROUNDS):
        sides.owner.snapshot()
        owner = sides.owner.records(left)
        behind = barrier()
        sides.target.snapshot()
        target = sides.target.records(left)
        # A record that changes all the time may have reached the target since: then the owner has the same by now.
        sides.owner.snapshot()
        later = sides.owner.records([id for id in left if owner.get(id) != target.get(id)])
        unsettled = []
        for id in left:
            mine, theirs = owner.get(id), target.get(id)
            if theirs in (mine, later.get(id)):
                in_flight += 1
            elif before.get(id) == (mine, theirs) or behind is not None:
                if ignores_extra and mine is None:
                    kept.append(id)
                else:
                    differences.append(_difference(id, mine, theirs, behind))
            else:
                before[id] = (mine, theirs)
                unsettled.append(id)
        left = unsettled
        if not left:
            break
    return Verdicts(differences, in_flight, left, kept)


def _difference(
    id: str, owner: RecordTexts | None, target: RecordTexts | None, behind: Behind | None
) -> RecordDifference:
    has_owner, has_target = (side is not None and side.values is not None for side in (owner, target))
    kind: DifferenceKind = "different" if has_owner and has_target else "missing" if has_owner else "extra"
    fields = list(_fields(owner, target)) if owner and target and has_owner and has_target else ()
    if behind is not None:
        return RecordDifference(id, "stale", fields, behind.sentence, behind.cause)
    if owner is not None and owner.rows > 1:
        return RecordDifference(id, kind, fields, _NOT_UNIQUE, "same_key")
    return RecordDifference(id, kind, fields)


def _fields(owner: RecordTexts, target: RecordTexts) -> Iterator[FieldDifference]:
    if owner.rows != target.rows:
        yield FieldDifference("[]", f"{owner.rows} rows", f"{target.rows} rows")
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
