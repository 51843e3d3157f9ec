"""A run's windows in Sorbus's database."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from sorbus.state.database import State
from sorbus.state.outdated import delete_outdated

_FOLDER = Path(__file__).parent / "sql"
_RUN = (_FOLDER / "begin_run.sql").read_bytes()
_WINDOW = (_FOLDER / "put_window.sql").read_bytes()


class RunName(NamedTuple):
    """One start of one process. `activity`: capture of a system (`subject`), or delivery of a flow."""

    run: str
    activity: str
    subject: str
    instance: str
    began: float


class HistoryWindow(NamedTuple):
    """Counts between two moments (seconds since 1970) for one data type."""

    data_type: str
    began: float
    ended: float
    counts: dict[str, float]


COUNTS = (
    "captured",
    "created",
    "updated",
    "linked",
    "deleted",
    "written",
    "skipped",
    "refused",
    "deferred",
    "filtered",
    "bytes",
    "seconds",
)


class HistoryStore:
    """Writes what a run did. TransientError, AuthError."""

    def __init__(self, state: State) -> None:
        self._state = state

    def put(self, run: RunName, windows: Sequence[HistoryWindow], now: float, *, is_over: bool) -> None:
        """All in one transaction; writing the same again changes nothing."""
        with self._state.connection() as connection:
            connection.execute(_RUN, {**run._asdict(), "seen": now, "ended": now if is_over else None})
            for one in windows:
                zeros = dict.fromkeys(COUNTS, 0)
                place = {"run": run.run, "data_type": one.data_type, "began": one.began, "ended": one.ended}
                connection.execute(_WINDOW, {**zeros, **one.counts, **place})

    def delete_outdated(self, is_over: Callable[[], bool]) -> None:
        """What all of the state keeps for a while only; see `sorbus.state.outdated`."""
        delete_outdated(self._state, is_over)
