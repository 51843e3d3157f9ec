"""Lengths of time as the map writes them: `30s`, `5m`, `2h`, `1d`."""

from __future__ import annotations

import re
from datetime import timedelta

_DURATION = re.compile(r"(\d{1,6})\s*(s|m|h|d)")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def parse_duration(text: str) -> float:
    """`30s`, `5m`, `2h`, `1d` in seconds; ValueError says what to write."""
    found = _DURATION.fullmatch(text.strip())
    if not found:
        raise ValueError(f"{text!r} is not a valid duration; write 30s, 5m, 2h or 1d")
    return timedelta(**{_UNITS[found[2]]: int(found[1])}).total_seconds()
