"""Which days a company works: its weekend, and the holidays of a file that it keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


@dataclass(frozen=True, slots=True)
class WorkingCalendar:
    """`weekend`: weekdays, Monday 0. `holidays`: days on which nobody works, in any year that the file holds."""

    weekend: frozenset[int] = frozenset({5, 6})
    holidays: frozenset[date] = frozenset()

    def is_working_day(self, day: date) -> bool:
        return day.weekday() not in self.weekend and day not in self.holidays

    @property
    def last_holiday(self) -> date | None:
        """Where the file's knowledge ends."""
        return max(self.holidays, default=None)


_PLAIN = WorkingCalendar()


@dataclass(frozen=True, slots=True)
class Calendars:
    """A map's calendars by name."""

    named: Mapping[str, WorkingCalendar] = field(default_factory=dict)

    def of(self, name: str | None) -> WorkingCalendar:
        """One by name; without a name the only one, or Monday to Friday where the map has none. ValueError."""
        known = ", ".join(sorted(self.named))
        if name is not None:
            if name not in self.named:
                known = f"the map has {known}" if known else "the map has none"
                raise ValueError(f"no calendar is called {name!r} ({known}); write it under `calendars:`")
            return self.named[name]
        if len(self.named) > 1:
            one = min(self.named)
            raise ValueError(f"the map has several calendars ({known}); name one in brackets: working days ({one})")
        return next(iter(self.named.values()), _PLAIN)
