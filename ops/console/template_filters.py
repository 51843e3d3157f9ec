"""Figures and moments as people read them; Jinja filters of the templates."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from markupsafe import Markup

from sorbus.calendar_limits import moment_of

_UNITS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"))


def span(seconds: float) -> str:
    """A time span in one unit: 12 s, 5 min, 3 h, 2 d."""
    for size, unit in _UNITS:
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def ago(at: float | datetime | None) -> Markup:
    """How long since a moment (seconds since 1970, or with its zone), the moment itself being its title."""
    if at is None:
        return Markup("never")
    seconds = at.timestamp() if isinstance(at, datetime) else at
    return _time(seconds, f"{span(time.time() - seconds)} ago")


def moment(at: float | datetime | None) -> Markup:
    """A moment by this machine's clock, to the second."""
    if at is None:
        return Markup("never")
    seconds = at.timestamp() if isinstance(at, datetime) else at
    return _time(seconds, _local(seconds))


def number(value: float | None, digits: int = 0) -> str:
    """A figure with its thousands apart; a dash for none."""
    return "–" if value is None else f"{value:,.{digits}f}"


class Point(NamedTuple):
    """How many changes were in flight at a moment (seconds since 1970)."""

    at: float
    lag: int


def sparkline(history: Sequence[Point], width: float, height: float) -> str:
    """A flow's history as an SVG polyline's points; two at least."""
    first, last, most = history[0].at, history[-1].at, max(1, *(point.lag for point in history))
    return " ".join(
        f"{(point.at - first) / ((last - first) or 1) * width:.1f},{height - 2 - point.lag / most * (height - 4):.1f}"
        for point in history
    )


def _time(seconds: float, text: str) -> Markup:
    exact = moment_of(1e6 * seconds).isoformat(timespec="seconds")
    return Markup('<time datetime="{}" title="{}">{}</time>').format(exact, _local(seconds), text)


def _local(seconds: float) -> str:
    return moment_of(1e6 * seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
