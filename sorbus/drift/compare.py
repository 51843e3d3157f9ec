"""How a resource's shape differs from the accepted one, and what that means for its records; no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from rapidfuzz.fuzz import ratio

What = Literal["new", "missing", "retyped", "deleted"]
"""`deleted` is about no field: so many records seem deleted that a person has to confirm it."""
Severity = Literal["info", "held"]
Shape = dict[str, str]
"""Field -> type, in the source's own order and names."""
Mapped = Mapping[str, str]
"""Fields that the map reads -> how it maps them; another text means that the mapping has changed."""
_ALIKE = 50.0


class Drift(NamedTuple):
    """One difference. `held`: records wait for it. `renamed`: the field's likely new name, or its former one."""

    field: str
    what: What
    was: str = ""
    now: str = ""
    severity: Severity = "info"
    renamed: str = ""

    @property
    def words(self) -> str:
        """What happened, for people."""
        if self.what == "deleted":
            return f"{self.now} of {self.was} records seem deleted, and are kept until a person confirms it"
        if self.what == "retyped":
            return f"{self.field} was {self.was} and is {self.now}"
        if self.renamed and self.what == "missing":
            return f"seems renamed: {self.field} is missing, {self.renamed} is new and has the same type"
        if self.renamed:
            return f"{self.field} ({self.now}) is new, and similar to {self.renamed}, which is missing"
        if not self.field:
            return "the whole resource is missing"
        return f"{self.field} is missing" if self.what == "missing" else f"{self.field} ({self.now}) is new"


def compare(before: Shape, now: Shape, mapped: Mapped) -> list[Drift]:
    """Every difference that a person should know of. A new field that the map reads already isn't one.

    A missing field that the map reads holds records back; a field whose type changed does so only where a value can no
    longer be converted, which the converting code reports.
    """
    gone = {field: kind for field, kind in before.items() if field not in now}
    gone |= {field: "" for field in mapped if field not in now and field not in gone}
    new = {field: kind for field, kind in now.items() if field not in before}
    renamed = _renamed(before, now, gone, new)
    back = {after: field for field, after in renamed.items()}
    found = [
        Drift(field, "missing", kind, "", "held" if field in mapped else "info", renamed.get(field, ""))
        for field, kind in gone.items()
    ]
    found += [
        Drift(field, "new", "", kind, "info", back.get(field, "")) for field, kind in new.items() if field not in mapped
    ]
    found += [
        Drift(field, "retyped", kind, now[field]) for field, kind in before.items() if now.get(field, kind) != kind
    ]
    return found


def _renamed(before: Shape, now: Shape, gone: Shape, new: Shape) -> dict[str, str]:
    """Old name -> new name, for one field of the same type in the same position, similar in name, or the only one."""
    found: dict[str, str] = {}
    places = dict(zip(before, now, strict=False))
    for field, kind in gone.items():
        free = [name for name in new if new[name] == kind and name not in found.values()]
        if places.get(field) in free:
            found[field] = places[field]
            continue
        likely = max(free, key=lambda name: ratio(field, name), default=None)
        if likely is not None and (ratio(field, likely) >= _ALIKE or (len(free) == 1 and len(gone) == 1)):
            found[field] = likely
    return found
