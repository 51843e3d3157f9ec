"""Comparing two systems by checksums that each computes itself: what a connector implements to take part.

Both sides bring a record to the same text: its id and the compared values, each in the form that its field has. They
sum the texts' hashes per segment of records, so that only segments that differ are read row by row. A segment is a
part of the ids' hashes, not a range of keys: neither the order of keys nor the largest key of a side matters.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from sorbus.connector import BoundFlow, BoundSource, BoundSystem, Delivery, Position
from sorbus.mapping.assign import Assignment
from sorbus.schema import FieldType

Form = Literal[
    "text", "padded", "integer", "number", "double", "boolean", "bytes", "timestamp", "date", "time", "uuid", "json",
    "texts", "integers", "booleans", "uuids", "dates", "timestamps", "native",
]  # fmt: skip
"""How a value is written for comparison; the plural forms are arrays of it.

padded: text without the blanks at its end. number: decimal digits without zeros at the end of the fraction. double:
the shortest digits that give it again. timestamp: in UTC to the microsecond. bytes: hex. json: as jsonb is written.
native: as the target writes the column's own type, for values that the target itself made of a delivery.
"""


class ComparedField(NamedTuple):
    """A field of the target: `assignment` fills it from the canonical field of type `type` (None: from the id).

    `part` is "" for the record, a list field's name for its items. `form` is None where the target can't compare it.
    """

    part: str
    name: str
    assignment: Assignment
    type: FieldType | None
    form: Form | None


class ComparedPart(NamedTuple):
    """What is compared of the record ("") or of a list's items, in this order. `placed`: items count by their place."""

    fields: Sequence[ComparedField]
    placed: bool = True


class SegmentSum(NamedTuple):
    """Records (or items) of a segment, and the sum of their texts' 64-bit hashes."""

    records: int
    total: int


class RowDigest(NamedTuple):
    """A record of a segment, with its text's hash (of a list: how many items, and the sum of their hashes)."""

    segment: int
    id: str
    rows: int
    digest: int


class RecordTexts(NamedTuple):
    """A record's compared values as text, by target field, and its items' likewise in their order, by list.

    `values` is None for items without their record. `rows`: how many have the id; the values are those of the first of
    them, `others` those of the others.
    """

    values: Mapping[str, str | None] | None
    items: Mapping[str, Sequence[Mapping[str, str | None]]]
    rows: int = 1
    others: Sequence[Mapping[str, str | None]] = ()


def item_order(item: tuple[str, Mapping[str, str | None], int]) -> tuple[int, list[tuple[bool, str]]]:
    """What a list's items (record's id, values, place) are sorted by: of those without a place the values decide."""
    return item[2], [(value is not None, value or "") for value in item[1].values()]


class HashFunction(NamedTuple):
    """How both sides hash a text, with a `seed` that is another one in each run and is not kept.

    Without it, who has a digest could try all birthdays, and two texts with one hash would never be told apart.
    """

    algorithm: str
    seed: int


class FieldTotal(NamedTuple):
    """How many values of a field are numbers, and their exact sum in decimal digits."""

    values: int
    total: str


class ChecksumReader(Protocol):
    """One side of a comparison. All methods raise TransientError and AuthError."""

    rows_fetched: int
    """Rows that were sent to this process so far."""
    bytes_scanned: int
    """Size of the tables that were read whole, once for each time."""
    nameless: int
    """Rows that were left out of `digests` because their id isn't text."""

    def snapshot(self, shared: str | None = None) -> None:
        """Everything read from here on is as of now, or of another reader's `share`; call it first."""

    def share(self) -> str:
        """A name by which other readers of the same database take this snapshot, while it lasts."""

    def totals(self, part: str, fields: Sequence[str]) -> dict[str, FieldTotal]:
        """Of these fields, whose form is integer or number."""

    def count(self) -> int:
        """How many records there are, about."""

    def sums(self, part: str, segments: int) -> dict[int, SegmentSum]:
        """By segment; `segments` is a power of two."""

    def digests(self, part: str, segments: int, among: Sequence[int]) -> Iterator[RowDigest]:
        """The records of these segments, those of a segment together, segments ascending."""

    def records(self, ids: Sequence[str]) -> dict[str, RecordTexts]:
        """Those of these records that there are."""

    def cancel(self) -> None:
        """Ends what another thread asks of it, soon; that raises an error there."""

    def close(self) -> None: ...


class TargetChecksumReader(ChecksumReader, Protocol):
    """The target's side."""

    def spelled(self, ids: Sequence[str]) -> dict[str, str]:
        """The id of the record that the target takes for each of these, where it spells it in another way."""

    def written(self, ids: Sequence[str]) -> dict[str, bool]:
        """Whether Sorbus wrote these records, as far as the target can tell; without those of which it can't."""


@runtime_checkable
class SupportsTargetChecksums(Protocol):
    """A consumer connector whose targets can compute checksums."""

    def compared_parts(self, flow: BoundFlow) -> dict[str, ComparedPart]:
        """What the flow's mapping fills in the target. TransientError, AuthError; UsageError where it lacks a field."""

    def target_checksums(
        self, flow: BoundFlow, parts: Mapping[str, ComparedPart], hashing: HashFunction
    ) -> TargetChecksumReader:
        """A reader of the target. TransientError, AuthError."""

    def hash_algorithms(self, system: BoundSystem) -> Sequence[str]:
        """What it can hash a text with, the fastest first. TransientError, AuthError."""


class ExpectedRecords(Protocol):
    """What a target's records are to be, as delivering events would write them."""

    def records(self, deliveries: Sequence[Delivery]) -> dict[str, RecordTexts]:
        """By id; without deleted records, and without those that the target would reject. TransientError, AuthError."""

    def close(self) -> None: ...


@runtime_checkable
class SupportsExpectedRecords(Protocol):
    """A consumer connector that can tell what a delivery would write, for fields that SQL can't compare."""

    def expected_records(self, flow: BoundFlow, parts: Mapping[str, ComparedPart]) -> ExpectedRecords:
        """For these fields, all in the form native. TransientError, AuthError."""


@runtime_checkable
class SupportsOwnerChecksums(Protocol):
    """A producer connector whose systems can compute checksums of what their records are mapped to."""

    def comparable(
        self, system: BoundSystem, source: BoundSource, parts: Mapping[str, ComparedPart]
    ) -> dict[str, ComparedPart]:
        """Those parts and fields that it can bring to their form exactly. TransientError, AuthError, MapError."""

    def owner_checksums(
        self, system: BoundSystem, source: BoundSource, parts: Mapping[str, ComparedPart], hashing: HashFunction
    ) -> ChecksumReader:
        """A reader of the owner. TransientError, AuthError."""

    def hash_algorithms(self, system: BoundSystem) -> Sequence[str]:
        """What it can hash a text with, the fastest first. TransientError, AuthError."""


@runtime_checkable
class SupportsMarks(Protocol):
    """A producer connector that can mark a moment in its source, and recognize when it has published all before it."""

    def mark(self, system: BoundSystem) -> int:
        """A mark of now: what the source showed before is published once it has passed. TransientError, AuthError."""

    def has_passed(self, position: Position, mark: int, data_type: str) -> bool:
        """Whether a producer with this stored position has published everything of the data type before the mark."""
