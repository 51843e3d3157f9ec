"""Reading a whole data type again beside a source's stream of changes: what people ask for, and how far it is."""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol, runtime_checkable

from sorbus.connector import Position

SnapshotAction = Literal["start", "pause", "resume", "cancel"]


class SnapshotStatus(NamedTuple):
    """A snapshot under way: which data type, how many records so far, and whether a person has paused it."""

    data_type: str
    records: int
    is_paused: bool


@runtime_checkable
class SupportsBackfill(Protocol):
    """A producer that reads a whole data type again beside its stream of changes."""

    def backfill(self, data_type: str, action: SnapshotAction) -> None:
        """Carries out a person's request. Called after `open`; a data type that was never read can't be cancelled."""

    def snapshot_status(self, position: Position) -> SnapshotStatus | None:
        """The snapshot under way in a stored position. May be called without `open`."""
