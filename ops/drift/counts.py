"""How many fields of each system have changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue

from sorbus.drift.store import DriftStore
from sorbus.mapfile.model import Map
from sorbus.ops.decisions.open_decisions import Fact, Figure, HealthBadge, OpenDecisions, counted
from sorbus.ops.monitoring.from_state import FromState
from sorbus.state import State


@dataclass(frozen=True, slots=True)
class DriftCounts(OpenDecisions):
    """(System, severity: held or info) -> fields that have changed in it."""

    fields: Mapping[tuple[str, str], int] = field(default_factory=dict)

    def needs_person(self) -> int:
        return sum(self.fields.values())

    def figure(self, flow: str | None = None) -> Figure | None:
        return None if flow else Figure("Changed sources", self.needs_person(), "warn", "/drift")

    def system_badges(self, system: str) -> Iterator[HealthBadge]:
        yield from counted("bad", self.fields.get((system, "held"), 0), "changed field")
        yield from counted("warn", self.fields.get((system, "info"), 0), "changed field")

    def system_facts(self, system: str) -> Iterator[Fact]:
        held, info = self.fields.get((system, "held"), 0), self.fields.get((system, "info"), 0)
        if held or info:
            of_them = f", {held} of them with records on hold" if held else ""
            yield Fact("Changed sources", f"{held + info}{of_them}", f"/drift?system={system}")

    def complaints(self) -> Iterator[str]:
        for (system, severity), count in sorted(self.fields.items()):
            if severity == "held":
                have = "s have" if count != 1 else " has"
                yield f"{system}: {count} mapped field{have} changed, and records are on hold"

    def lines(self) -> Iterator[str]:
        for system in dict.fromkeys(system for system, _ in self.fields):
            count = sum(found for (of, _), found in self.fields.items() if of == system)
            yield f"{system} has changed in {count:,} place{'s' * (count != 1)}: sorbus drift list"

    def as_json(self) -> dict[str, JsonValue]:
        found = sorted(self.fields.items())
        return {"drifts": [{"system": system, "severity": held, "open": count} for (system, held), count in found]}


def drift_counts(company: Map, *, has_state: bool) -> FromState[DriftCounts]:
    """How much has changed where."""

    def ask(state: State) -> DriftCounts:
        return DriftCounts(Counter((one.system, one.severity) for one in DriftStore(state).findings()))

    return FromState(company.topic_prefix, ask, DriftCounts(), "whether sources have changed", is_asked=has_state)
