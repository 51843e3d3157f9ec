"""Open dead letters of each flow, and rows that producers rejected."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import JsonValue

from sorbus.ops.decisions.open_decisions import Figure, Gauge, HealthBadge, OpenDecisions, counted
from sorbus.ops.monitoring.flow_state import FlowState


@dataclass(frozen=True, slots=True)
class LetterCounts(OpenDecisions):
    """(Data type, flow) -> open dead letters, flow "" for rows that the producer rejected.

    `owners`: data type -> its system of record. `flows`: those that run.
    """

    letters: Mapping[tuple[str, str], int] = field(default_factory=dict)
    owners: Mapping[str, str] = field(default_factory=dict)
    flows: Collection[str] = ()

    def needs_person(self) -> int:
        return sum(self.letters.values())

    def figure(self, flow: str | None = None) -> Figure:
        count = sum(count for (_, of), count in self.letters.items() if flow in (None, of))
        return Figure("Dead letters", count, "bad", "/letters")

    def flow_badges(self, flow: str) -> Iterator[HealthBadge]:
        count = sum(count for (_, of), count in self.letters.items() if of == flow)
        yield from counted("bad", count, "dead letter")

    def system_badges(self, system: str) -> Iterator[HealthBadge]:
        rejected = sum(self.letters.get((data_type, ""), 0) for data_type, of in self.owners.items() if of == system)
        yield from counted("bad", rejected, "row", " rejected")

    def complaints(self) -> Iterator[str]:
        for (data_type, flow), count in sorted(self.letters.items()):
            if not flow and count:
                yield f"{data_type}: {count} source row{'s' * (count != 1)} could not be made canonical"
            elif count and flow not in self.flows:
                letters = f"{count:,} dead letter{'s' * (count != 1)} open"
                yield f"{flow}: {letters}, and the map no longer runs it: sorbus dlq list --flow {flow}"

    def as_json(self) -> dict[str, JsonValue]:
        found = sorted(self.letters.items())
        return {"dead_letters": [{"data_type": of, "flow": flow, "open": count} for (of, flow), count in found]}

    def metrics(self, flows: Sequence[FlowState], at: float) -> Iterator[Gauge]:
        yield Gauge(
            "sorbus_dead_letters_open", "Dead letters that wait.", ("data_type", "flow"), list(self.letters.items())
        )
