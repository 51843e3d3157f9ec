"""What the history says of a system or a flow. TransientError, AuthError."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import NamedTuple, cast

from sorbus.drift.watch import has_state
from sorbus.errors import SorbusError
from sorbus.history.store import COUNTS
from sorbus.settings import Settings
from sorbus.state.database import State, is_not_made

_FOLDER = Path(__file__).parent / "sql"
_BUCKETS = (_FOLDER / "read_buckets.sql").read_bytes()
_RUNS = (_FOLDER / "read_runs.sql").read_bytes()
_HOURS = (_FOLDER / "read_hours.sql").read_bytes()
_LAST_DELIVERY = (_FOLDER / "last_delivery.sql").read_bytes()
_log = logging.getLogger(__name__)
Series = tuple[str, str, str]
"""Activity (capture or delivery), subject (a system or a flow), data type."""


class HistoryBucket(NamedTuple):
    """Sums from `began` (seconds since 1970) on for the width that was asked for; `counts` by COUNTS."""

    data_type: str
    began: float
    counts: dict[str, float]

    @property
    def changed(self) -> float:
        """Records published, or that landed in the target."""
        names = ("captured",) if self.counts["captured"] else ("created", "updated", "deleted", "written")
        return sum(self.counts[name] for name in names)

    @property
    def failed(self) -> float:
        """Records that became dead letters or were deferred."""
        return self.counts["refused"] + self.counts["deferred"]


class HistoryRun(NamedTuple):
    """One start of a process; `state`: running, ended, or crashed (what it did since `seen` is not counted)."""

    run: str
    instance: str
    began: float
    seen: float
    state: str


def read_buckets(state: State, activity: str, subject: str, since: float, width: float) -> list[HistoryBucket]:
    """Sums in stretches of `width` seconds, oldest first; stretches without a window are left out."""
    rows = state.run(_BUCKETS, {"activity": activity, "subject": subject, "since": since, "width": width})
    return [
        HistoryBucket(
            str(row[0]), cast("float", row[1]), dict(zip(COUNTS, cast("tuple[float, ...]", row[2:]), strict=True))
        )
        for row in rows
    ]


def read_runs(state: State, activity: str, subject: str, since: float) -> list[HistoryRun]:
    """Runs that were seen since then, oldest first."""
    rows = state.run(_RUNS, {"activity": activity, "subject": subject, "since": since})
    return [HistoryRun(*cast("tuple[str, str, float, float, str]", row)) for row in rows]


def read_hours(state: State, since: float) -> dict[Series, dict[int, int]]:
    """Series -> hour (since 1970) -> events; hours without a window are left out."""
    found: dict[Series, dict[int, int]] = {}
    for activity, subject, data_type, hour, events in cast(
        "list[tuple[str, str, str, int, int]]", state.run(_HOURS, {"since": since})
    ):
        found.setdefault((activity, subject, data_type), {})[int(hour)] = events
    return found


class LastDelivery(NamedTuple):
    """The last minute or so in which a flow has delivered, in seconds since 1970."""

    began: float
    ended: float


def last_delivery(topic_prefix: str, flow: str, data_type: str) -> LastDelivery | None:
    """When a flow has delivered last; None: never that is known, or nothing can be asked."""
    if not has_state(Settings()):
        return None
    try:
        rows = State.of(topic_prefix).run(_LAST_DELIVERY, {"flow": flow, "data_type": data_type})
    except SorbusError as error:
        if not is_not_made(error):
            _log.warning("whether flow %s has delivered before can't be asked: %s", flow, error)
        return None
    return next((LastDelivery(*cast("tuple[float, float]", row)) for row in rows), None)
