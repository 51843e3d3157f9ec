"""Whose change of a field counts: what the map says of a data type that several systems change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Merge = Literal["latest", "union", "ask"]
TOLERANCE = 5_000_000
"""Microseconds by which clocks of two systems may differ: changes that are closer happened at the same time."""


@dataclass(frozen=True, slots=True)
class MergeRules:
    """The rules of one data type. `system_of_record` decides which records there are."""

    system_of_record: str
    proposes: Mapping[str, frozenset[str]]
    """System -> the fields whose changes there are looked at."""
    owners: Mapping[str, str] = field(default_factory=dict)
    """Field -> the system that owns it, where that isn't the system of record."""
    merges: Mapping[str, Merge] = field(default_factory=dict)
    """Field that several systems may change -> how."""
    tolerance: int = TOLERANCE

    def owner(self, name: str) -> str | None:
        """The one system whose changes of a field count; None where several may change it."""
        if name in self.merges:
            return None
        return self.owners.get(name, self.system_of_record)
