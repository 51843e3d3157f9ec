"""Flows and systems that handle far more, or far less, than they usually do: from the history, every few minutes."""

from __future__ import annotations

import time

from sorbus.history.read import Series, read_hours
from sorbus.history.volume import WEEKS, UnusualVolume, unusual
from sorbus.mapfile.model import Map
from sorbus.ops.monitoring.from_state import FromState
from sorbus.state import State

_EVERY = 300.0
_HOUR = 3600
_LATE = 26
"""Hours that are read again each time: while the state is away processes keep windows for a day."""


def volumes(company: Map, *, has_state: bool) -> FromState[tuple[UnusualVolume, ...]]:
    """Asks the state, with what was found last for five minutes. The weeks before are read once."""
    flows = {("delivery", flow.id) for flow in company.flows if flow.runs}
    known = flows | {("capture", system) for system in company.systems}
    last: tuple[UnusualVolume, ...] = ()
    due_at = time.monotonic()
    hours: dict[Series, dict[int, int]] = {}
    known_from = 0

    def ask(state: State) -> tuple[UnusualVolume, ...]:
        nonlocal last, due_at, known_from
        if time.monotonic() >= due_at:
            now = int(time.time() // _HOUR)
            first = now - (WEEKS + 1) * 7 * 24
            is_known = hours and first >= known_from  # a clock that was ahead has left less
            since, known_from = (max(first, now - _LATE) if is_known else first), first
            found = read_hours(state, since * _HOUR)
            for series in hours.keys() | found.keys():
                before = {hour: count for hour, count in hours.get(series, {}).items() if first <= hour < since}
                hours[series] = before | found.get(series, {})
            judged = [unusual(series, each, now) for series, each in hours.items() if series[:2] in known]
            last, due_at = tuple(one for one in judged if one is not None), time.monotonic() + _EVERY
        return last

    return FromState(company.topic_prefix, ask, (), "what is usual of each flow", is_asked=has_state)
