"""Whether a system or a flow handles far more, or far less, than it usually does at this hour of the week; no I/O.

Usual is the median of the same hour in the last eight weeks, and the hours beside it, so that a week of failure, or a
holiday, doesn't become the rule. Quiet for the first four weeks, and for those that handle little.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import NamedTuple

WEEKS = 8
FEWEST_WEEKS = 4
SMALL = 100
"""Events an hour below which a flow's hours differ by chance."""
FAR = 5.0
_WEEK = 168


class UnusualVolume(NamedTuple):
    """`events` in the last whole hour, of which `usual` are expected."""

    activity: str
    subject: str
    data_type: str
    events: int
    usual: float

    @property
    def words(self) -> str:
        """What a person has to know."""
        did = "captured" if self.activity == "capture" else "handled"
        return f"{did} {self.events:,} events of {self.data_type} in the last whole hour; usual are {self.usual:,.0f}"


def unusual(series: tuple[str, str, str], hours: Mapping[int, int], now_hour: int) -> UnusualVolume | None:
    """Judges the hour before `now_hour` (hours since 1970); None: as usual, or too early or too little to say.

    An hour without a window counts as none handled, once the series has begun.
    """
    last = now_hour - 1
    if not hours or last - min(hours) < FEWEST_WEEKS * _WEEK:
        return None
    begun = min(hours)
    places = [
        last - week * _WEEK + beside
        for week in range(1, WEEKS + 1)
        for beside in (-1, 0, 1)
        if last - week * _WEEK + beside >= begun
    ]
    past = [hours.get(place, 0) for place in places]
    usual, events = median(past), hours.get(last, 0)
    ordered = sorted(past)
    low, high = ordered[len(ordered) // 4], ordered[-1 - len(ordered) // 4]
    is_low = usual >= SMALL and events * FAR < usual and events * 2 < low
    is_high = events >= SMALL * FAR and events > max(usual, 1) * FAR and events > high * 2
    return UnusualVolume(*series, events, usual) if is_low or is_high else None
