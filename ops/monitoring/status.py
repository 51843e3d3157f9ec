"""The live table of `sorbus status`, and the same as JSON."""

from __future__ import annotations

import time
from dataclasses import asdict

from pydantic import JsonValue
from rich.console import Group
from rich.table import Table
from rich.text import Text

from sorbus.calendar_limits import moment_of
from sorbus.http_api.limits.budgets import Budget
from sorbus.ops.monitoring.flow_state import FlowState
from sorbus.ops.monitoring.measure import GRAVE, Measurement

_FIGURES = ("lag", "lag s", "rate/s", "dead letters")
_STATE_STYLES = {"running": "green", "joining": "yellow", "waiting": "dim", "quiet": "dim", "paused": "yellow", "": ""}


def as_json(measurement: Measurement) -> dict[str, JsonValue]:
    """The measurement for machines; times in seconds since 1970."""
    flows: list[JsonValue] = [
        {**asdict(flow), "state": _state(flow), "complaint": flow.complaint} for flow in measurement.flows
    ]
    topics: list[JsonValue] = [asdict(topic) for topic in measurement.topics]
    return {
        "at": measurement.at,
        "flows": flows,
        "topics": topics,
        **{key: value for one in measurement.decisions for key, value in one.as_json().items()},
        "escalations": [
            {**asdict(one), "person": str(one.person) if one.person else None, "words": one.words}
            for one in measurement.escalations
        ],
        "source_lag_bytes": dict(measurement.slots),
        "last_reads": dict(measurement.last_reads),
        "problems": [{**asdict(one), "words": one.words} for one in measurement.problems],
        "systems": [_budget(budget) for budget in measurement.budgets],
        "lost": [*measurement.lost, *measurement.without_offsets],
        "standbys": {system: list(faults) for system, faults in measurement.standbys.items()},
        "volumes": [{**one._asdict(), "words": one.words} for one in measurement.volumes],
        "notes": [
            {"of": name, "kind": kind, "words": words} for (name, kind), words in sorted(measurement.notes.items())
        ],
        "complaints": list(measurement.complaints()),
    }


def as_table(measurement: Measurement, *, now: float | None = None) -> Group:
    """The measurement for people: one row per flow, the source's side below."""
    return Group(flows_table(measurement, now=now), _below(measurement))


def flows_table(measurement: Measurement, *, now: float | None = None) -> Table:
    """One row per flow. Where there is little room names are folded, and figures stay whole."""
    moment = time.time() if now is None else now
    table = Table(box=None, pad_edge=False, header_style="bold")
    rows = [_row(flow, moment) for flow in measurement.flows]
    for place, name in enumerate(("flow", "state", *_FIGURES, "last change")):
        if name in _FIGURES:
            least = max((row[place].cell_len for row in rows), default=0)
            table.add_column(name, justify="right", overflow="fold", min_width=least)
        else:
            table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def _row(flow: FlowState, now: float) -> tuple[Text, ...]:
    late = "bold red" if flow.lag_seconds > flow.patience + 60 else "yellow" if flow.lag_records else ""
    return (
        Text(flow.flow),
        Text(_state(flow), style=_STATE_STYLES.get(_state(flow), "bold red")),
        Text(f"{flow.lag_records:,}", style=late),
        Text(f"{flow.lag_seconds:,.0f}", style=late),
        Text("-" if flow.rate is None else f"{flow.rate:,.0f}"),
        Text(f"{flow.dead_letters:,}", style="bold red" if flow.dead_letters else ""),
        Text("-" if flow.last_change is None else ago(now - flow.last_change)),
    )


def _state(flow: FlowState) -> str:
    """The group's own word, unless something is wrong: then what."""
    if flow.pause:
        return "paused"
    if flow.problem:
        return flow.problem.what
    if flow.quiet_until is not None:
        return "quiet"
    if flow.source_problem:
        return f"source {flow.source_problem.what}"
    return flow.state


def _below(measurement: Measurement) -> Text:
    lines = []
    for system, size in measurement.slots.items():
        lines.append(
            f"{system} holds back {'an unknown amount' if size is None else f'{size:,} bytes'} for its producer"
        )
    for data_type, read_at in sorted(measurement.last_reads.items()):
        lines.append(f"{data_type} was last read to its source's end {ago(measurement.at - read_at)}")
    lines += [f"{flow.flow}: {flow.pause.words}" for flow in measurement.flows if flow.pause]
    lines += [f"{flow.flow}: {flow.times}" for flow in measurement.flows if flow.times and not flow.pause]
    lines += [line for one in measurement.decisions for line in one.lines()]
    lines += [
        f"{name}: {words}"
        for (name, kind), words in sorted(measurement.notes.items())
        if kind not in (*GRAVE, "paused")
    ]
    lines += map(str, measurement.budgets)
    lines += measurement.complaints()
    at = moment_of(1e6 * measurement.at).astimezone().strftime("%H:%M:%S %Z")
    return Text("\n".join(["", *lines, f"measured at {at}"]))


def _budget(budget: Budget) -> dict[str, JsonValue]:
    windows: list[JsonValue] = [
        {"window": one.name, "seconds": one.seconds, "requests": one.requests, "left": one.left}
        for one in budget.windows
    ]
    circuit = "closed" if not budget.down else "probing" if budget.probing else "open"
    return {
        "system": budget.system,
        "windows": windows,
        "told_to_wait_seconds": budget.blocked,
        "circuit": circuit,
        "down_seconds": budget.down,
    }


def ago(seconds: float) -> str:
    """A time span in one unit, as people say it: 12 s ago, 5 min ago."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{max(0.0, seconds):.0f} s ago"
