"""What people are told of a source's snapshots."""

from __future__ import annotations

from collections.abc import Sequence

from sorbus.producers.postgres.position import PostgresPosition, SnapshotProgress
from sorbus.snapshot_control import SnapshotState, SnapshotStatus


def snapshots_of(position: PostgresPosition, data_types: Sequence[str]) -> list[SnapshotStatus]:
    """Those under way, due and paused, in their order; then those that have ended. `data_types`: all of the source."""
    turn = position.turn(data_types)
    ended = [_status(each, "ended") for each in position.ended.values()]
    return [*(_status(each, _state(position, each)) for each in turn), *ended]


def _state(position: PostgresPosition, one: SnapshotProgress) -> SnapshotState:
    return "paused" if one.is_paused else "reading" if one is position.copying else "waiting"


def _status(one: SnapshotProgress, state: SnapshotState) -> SnapshotStatus:
    return SnapshotStatus(
        one.data_type, state, one.records, one.expected, one.rate, one.where, one.left_out, one.undecided, one.example
    )
