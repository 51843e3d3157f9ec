"""Reading a whole data type again beside a source's stream of changes: what people ask for, and how far it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from sorbus.connector import Position

SnapshotState = Literal["reading", "waiting", "paused", "ended"]
SnapshotAction = Literal["start", "pause", "resume", "cancel"]


class SnapshotStatus(NamedTuple):
    """A snapshot that is being read, waits for its turn, is paused, or has ended.

    `records` read so far of about `expected` (0: unknown), at `rate` a second. `where`: the condition, which
    `left_out` don't fit; of those, `undecided` gave an error (`example`: the first one's id and error).
    """

    data_type: str
    state: SnapshotState
    records: int = 0
    expected: int = 0
    rate: float = 0.0
    where: str = ""
    left_out: int = 0
    undecided: int = 0
    example: str = ""

    @property
    def seconds_left(self) -> float | None:
        """How long it will take; None: unknown."""
        if self.state != "reading" or not self.rate or not self.expected:
            return None
        return max(0.0, (self.expected - self.records) / self.rate)


@runtime_checkable
class SupportsBackfill(Protocol):
    """A producer that reads a whole data type again beside its stream of changes."""

    def backfill(self, data_type: str, action: SnapshotAction, where: str = "") -> None:
        """Carries out a person's request. Called after `open`; a data type that was never read can't be cancelled.

        `where`: only records that fit this condition (of the rules' language) are to be published.
        """

    def snapshots(self, position: Position, data_types: Sequence[str]) -> list[SnapshotStatus]:
        """The snapshots of a stored position: those to come in their order, then the ended ones. Without `open`."""
