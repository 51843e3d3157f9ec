"""What is left of the systems' rate limits, and which systems are down, according to the state."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import NamedTuple, cast

from sorbus.state import State

_BUDGETS = (files("sorbus.http_api.limits") / "budgets.sql").read_bytes()
_DAY = 86_400.0
_NAMES = {1.0: "second", 60.0: "minute", 3600.0: "hour", _DAY: "day"}
_UNITS = {1.0: "s", 60.0: "min", 3600.0: "h", _DAY: "day"}


def _long(seconds: float) -> str:
    return f"{seconds / _DAY:g} days" if seconds >= _DAY else f"{seconds:g} s"


class Window(NamedTuple):
    """One limit: `requests` in any window of `seconds`, of which `left` are currently left."""

    seconds: float
    requests: int
    left: int

    @property
    def name(self) -> str:
        """Its name in metrics: second, minute, hour, day, 30 days, or the seconds themselves."""
        return _NAMES.get(self.seconds) or _long(self.seconds)

    @property
    def ends(self) -> str:
        """Of one that lasts for days, when what is left has to be enough for: today, within 30 days."""
        return "today" if self.seconds == _DAY else f"within {self.name}"

    @property
    def rate(self) -> str:
        """Its short form: 60/min."""
        return f"{self.requests:,}/{_UNITS.get(self.seconds) or _long(self.seconds)}"

    @property
    def is_nearly_spent(self) -> bool:
        """Whether it needs attention: less than a tenth of the requests of a day, or of more days, is left."""
        return self.seconds >= _DAY and self.left < self.requests / 10


@dataclass(frozen=True, slots=True)
class Budget:
    """One system: its windows, the seconds it asked us to wait, and for how many seconds its circuit has been open."""

    system: str
    windows: tuple[Window, ...]
    blocked: float
    down: float
    probing: bool

    def __str__(self) -> str:
        """`accounting: 4,812 of 5,000 requests left today, 60/min; circuit closed`."""
        spans = [
            f"{one.left:,} of {one.requests:,} requests left {one.ends}" if one.seconds >= _DAY else one.rate
            for one in sorted(self.windows, key=lambda one: -one.seconds)
        ]
        words = [", ".join(spans) or "no rate limit"]
        if self.blocked:
            words.append(f"told to wait {self.blocked:,.0f} s")
        words.append(f"circuit open for {self.down:,.0f} s" if self.down else "circuit closed")
        return f"{self.system}: {'; '.join(words)}"

    def complaints(self) -> list[str]:
        """What needs attention, in plain words."""
        found = []
        if self.down > 60:
            found.append(f"{self.system}: is down, its circuit has been open for {self.down:,.0f} s")
        spent = [one for one in self.windows if one.is_nearly_spent]
        return found + [
            f"{self.system}: only {one.left:,} of {one.requests:,} requests left {one.ends}" for one in spent
        ]


def read_budgets(state: State) -> list[Budget]:
    """Every system that was ever called, by name. Errors as in `State.connection`."""
    return [
        Budget(
            system=str(system),
            windows=tuple(
                Window(seconds, int(requests), int(left))
                for seconds, requests, left in cast("list[tuple[float, float, float]]", windows)
            ),
            blocked=cast("float", blocked),
            down=cast("float", down),
            probing=bool(probing),
        )
        for system, windows, blocked, down, probing in state.run(_BUDGETS)
    ]
