"""Flows and systems that handle far more, or far less, than they usually do: from the history, every few minutes."""

from __future__ import annotations

import time

from sorbus.history.read import read_hours
from sorbus.history.volume import WEEKS, UnusualVolume, unusual
from sorbus.mapfile.model import Map
from sorbus.ops.monitoring.from_state import FromState
from sorbus.state import State

_EVERY = 300.0
_HOUR = 3600


def volumes(company: Map, *, has_state: bool) -> FromState[tuple[UnusualVolume, ...]]:
    """Asks the state, with what was found last for five minutes."""
    flows = {("delivery", flow.id) for flow in company.flows if flow.runs}
    known = flows | {("capture", system) for system in company.systems}
    last: tuple[UnusualVolume, ...] = ()
    due_at = time.monotonic()

    def ask(state: State) -> tuple[UnusualVolume, ...]:
        nonlocal last, due_at
        if time.monotonic() >= due_at:
            now = time.time()
            hours = read_hours(state, now - (WEEKS + 1) * 7 * 24 * _HOUR)
            judged = [
                unusual(series, found, int(now // _HOUR)) for series, found in hours.items() if series[:2] in known
            ]
            last, due_at = tuple(one for one in judged if one is not None), time.monotonic() + _EVERY
        return last

    return FromState(company.topic_prefix, ask, (), "what is usual of each flow", is_asked=has_state)
