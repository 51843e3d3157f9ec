"""The figures of a map's flows, from Sorbus's database, and from targets that know when their rows were last read."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import cast

from sorbus.abilities import SupportsLastRead
from sorbus.advice.evidence import DAY, HOUR, FlowEvidence, covered
from sorbus.errors import SorbusError
from sorbus.map.loaded import LoadedMap
from sorbus.mapfile.model import Flow
from sorbus.state.database import State
from sorbus.state.outdated import KEEP_HISTORY

_FOLDER = Path(__file__).parent / "sql"
_MARGIN = 60.0
"""Seconds that a target may take to note a read."""


def gather(
    loaded: LoadedMap,
    state: State,
    flows: Sequence[str] = (),
    *,
    asks_targets: bool = True,
    clock: Callable[[], float] = time.time,
) -> list[FlowEvidence]:
    """The flows that people wrote and that run, or those of them named.

    TransientError, AuthError when the database can't be read.
    """
    now = clock()
    figures = _Figures(state, now - KEEP_HISTORY * DAY)
    wanted = [one for one in loaded.as_written.map.flows if one.runs and (not flows or one.id in flows)]
    return [_evidence(loaded, one, figures, now, asks_target=asks_targets) for one in wanted]


class _Figures:
    """Read once for all flows; times in seconds since 1970."""

    def __init__(self, state: State, since: float) -> None:
        values = {"since": since}
        self.hours: dict[tuple[str, str, str], dict[int, int]] = defaultdict(dict)
        for activity, subject, data_type, hour, count in state.run(_statement("hours"), values):
            self.hours[str(activity), str(subject), str(data_type)][cast("int", hour)] = cast("int", count)
        self.runs: dict[tuple[str, str], list[tuple[float, float, bool]]] = defaultdict(list)
        for activity, subject, began, seen, is_crash in state.run(_statement("runs"), values):
            run = (cast("float", began), cast("float", seen), bool(is_crash))
            self.runs[str(activity), str(subject)].append(run)
        self.letters = [
            (str(flow), str(data_type), cast("float", at))
            for flow, data_type, at in state.run(_statement("letters"), values)
        ]
        self.conflicts = [(str(flow), cast("float", at)) for flow, at in state.run(_statement("conflicts"), values)]
        self.syncs = [(str(flow), cast("float", at)) for flow, at in state.run(_statement("syncs"), values)]


def _evidence(loaded: LoadedMap, flow: Flow, figures: _Figures, now: float, *, asks_target: bool) -> FlowEvidence:
    owner = str(loaded.map.data_types[flow.data_type].system_of_record)
    delivering, capturing = (figures.runs.get(one, []) for one in (("delivery", flow.id), ("capture", owner)))
    # Kept windows may begin after the first run did; the first day has the initial snapshot.
    first = max(min((began for began, _, _ in runs), default=now) for runs in (delivering, capturing))
    since = max(first + DAY, now - KEEP_HISTORY * DAY)
    captured = figures.hours.get(("capture", owner, flow.data_type), {})
    landed = figures.hours.get(("delivery", flow.id, flow.data_type), {})
    delivered = max((max(landed) + 1) * HOUR if landed else 0.0, since)
    return FlowEvidence(
        flow.id,
        flow.timing,
        flow.is_real_time,
        since,
        covered([(began, seen) for began, seen, _ in capturing], since),
        covered([(began, seen) for began, seen, _ in delivering], since),
        {hour: count for hour, count in captured.items() if hour * HOUR >= since},
        sum(count for hour, count in landed.items() if hour * HOUR >= since),
        sum(at >= since and (by == flow.id or (not by and of == flow.data_type)) for by, of, at in figures.letters),
        sum(at >= since and by == flow.id for by, at in figures.conflicts),
        sum(is_crash and seen >= since for _, seen, is_crash in delivering),
        sum(at >= since and of == flow.id for of, at in figures.syncs),
        _unread_days(loaded, flow, delivered, now) if asks_target else None,
    )


def _unread_days(loaded: LoadedMap, flow: Flow, delivered: float, now: float) -> float | None:
    """Days for which nobody has read the target's rows. `delivered`: when Sorbus last wrote, which reads them too."""
    connector: object = loaded.consumer(flow.to)
    if not isinstance(connector, SupportsLastRead):
        return None
    try:
        found = connector.last_read(loaded.flow(flow.id))
    except SorbusError:  # a target that is away says nothing about whether it is read
        return None
    if found is None or found.known_since > delivered:
        return None
    # The target knows the last read alone: one after the last delivery was another's, one before it may be Sorbus's.
    return (now - delivered) / DAY if found.at is None or found.at <= delivered + _MARGIN else 0.0


@cache
def _statement(name: str) -> bytes:
    return (_FOLDER / f"{name}.sql").read_bytes()
