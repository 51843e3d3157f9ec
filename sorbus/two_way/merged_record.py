"""A record that several systems change, as the merge keeps it: its values, where they come from, what systems show."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isnan
from typing import NamedTuple

Values = dict[str, object]
UNREADABLE = object()
"""In place of a held value that its field can't have any more."""
DELETED, KEPT = "deleted", "kept"
"""In place of values: a record that was deleted where that doesn't count."""


class Origin(NamedTuple):
    """Where a field's value comes from, when it was changed there, and the record's version since then."""

    system: str
    at: int
    version: int


class Held(NamedTuple):
    """A system's value that a person decides about, and what that system had before."""

    theirs: object
    before: object
    at: int


@dataclass(slots=True)
class View:
    """What a system showed last. `knows`: the newest version of the merged record that it has shown."""

    version: int
    values: Values | None
    knows: int = 0


@dataclass(slots=True)
class MergedRecord:
    """A record, its origins by field, and what each system shows. `values` None: there is no such record."""

    id: bytes
    version: int = 0
    values: Values | None = None
    origins: dict[str, Origin] = field(default_factory=dict)
    views: dict[str, View] = field(default_factory=dict)
    held: dict[tuple[str, str], Held] = field(default_factory=dict)
    """(Field, system) -> what waits for a person."""
    is_owed: bool = False
    """Whether this version has still to be published."""

    @property
    def is_unlinked(self) -> bool:
        """Whether a system has it that the system of record never had, or has it again since its owner deleted it.

        One that keeps it when it is deleted, until Sorbus's delete arrives or for good, doesn't have it again.
        """
        return self.values is None and any(
            view.values is not None and view.knows >= self.version for view in self.views.values()
        )

    @property
    def may_go(self) -> bool:
        """Whether it is to be published now."""
        return self.is_owed and not self.held


def same(one: object, other: object) -> bool:
    """Whether two values are the same. NaN, which equals nothing, is the same as NaN."""
    if one == other:
        return True
    if isinstance(one, float) and isinstance(other, float):
        return isnan(one) and isnan(other)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[name]) for name, value in one.items())
    return False
