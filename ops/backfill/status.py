"""What `sorbus backfill --status` shows: a source's snapshots in the order in which they are read."""

from __future__ import annotations

import json
from collections.abc import Sequence

import typer

from sorbus.bus.names import Names
from sorbus.bus.positions import read_positions
from sorbus.settings import Settings
from sorbus.snapshot_control import SnapshotStatus, SupportsBackfill


def show_status(
    connector: SupportsBackfill,
    settings: Settings,
    names: Names,
    owner: str,
    data_types: Sequence[str],
    *,
    as_json: bool,
) -> None:
    """Prints the snapshots of the system `owner`: `data_types` are all that it owns. TransientError without Kafka."""
    position = read_positions(settings, names).get(owner)
    found = [] if position is None else connector.snapshots(position, data_types)
    if as_json:
        typer.echo(json.dumps([{**one._asdict(), "seconds_left": one.seconds_left} for one in found]))
    elif not found:
        typer.echo(
            f"{owner}: no snapshot is under way" if position is not None else f"{owner} has published nothing yet"
        )
    else:
        for one in found:
            typer.echo(words_of(one))


def words_of(one: SnapshotStatus) -> str:
    """One snapshot in a line: `customer: reading, 1,200 of about 5,000 records, 410 a second, about 9 s left`."""
    parts = [f"{one.data_type}: {one.state}"]
    if one.records or one.state in ("reading", "ended"):
        is_part = one.expected > one.records and one.state != "ended"
        parts.append(f"{one.records:,} {f'of about {one.expected:,} ' if is_part else ''}records read")
    if one.state == "reading" and one.rate:
        parts.append(f"{one.rate:,.0f} a second")
    if one.seconds_left is not None:
        parts.append(f"about {_duration(one.seconds_left)} left")
    if one.where:
        parts.append(f"where {one.where}: {one.left_out:,} left out")
    if one.example and not one.undecided:
        parts.append(f"given up: {one.example}")
    elif one.undecided:
        parts.append(f"of those {one.undecided:,} because the condition can't be decided (the first: {one.example})")
    return ", ".join(parts)


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
