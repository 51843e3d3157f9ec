"""What a digest contains: a measurement, and what the state knows of letters, incomplete records and changed fields."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import NamedTuple

from sorbus.dlq.index import LetterIndex
from sorbus.drift.store import DriftFinding, DriftStore
from sorbus.ops.monitoring.measure import Measurement
from sorbus.state import State
from sorbus.waiting.store import Missing, missing

_FOLDER = Path(__file__).parent / "sql"


class Cause(NamedTuple):
    """Dead letters with one cause; `flow` "": rows of `system` that could not be made canonical."""

    data_type: str
    flow: str
    system: str
    reason: str
    field: str
    open: int
    new: int
    closed: int
    oldest: datetime | None


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything between `since` and `until`, of the whole company."""

    since: datetime
    until: datetime
    measured: Measurement
    letters: tuple[Cause, ...]
    missing: tuple[Missing, ...]
    drifts: tuple[DriftFinding, ...]


def gather(index: LetterIndex, state: State, measured: Measurement, since: datetime, until: datetime) -> Facts:
    """Asks the state, once `index` has caught up with the dead letters. TransientError, AuthError."""
    index.catch_up()
    letters = state.run(statement("letters"), {"since": since})
    return Facts(
        since,
        until,
        measured,
        tuple(Cause(*row) for row in letters),  # type: ignore[arg-type]
        tuple(missing(state)),
        tuple(DriftStore(state).findings()),
    )


@cache
def statement(name: str) -> bytes:
    """One of the files in sql/."""
    return (_FOLDER / f"{name}.sql").read_bytes()
