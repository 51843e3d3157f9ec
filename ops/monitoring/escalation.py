"""Who is called by name, since something has waited for longer than its flow allows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from sorbus.errors import SorbusError
from sorbus.map.contact import Contact, called_for
from sorbus.mapfile.model import Flow, Map
from sorbus.ops.monitoring.flow_state import FlowState
from sorbus.timing.duration import parse_duration

Why = Literal["late", "letters"]


@dataclass(frozen=True, slots=True)
class Escalation:
    """A flow that needs a person. late: its events are tried again, or nobody delivers them; letters: they are open.

    `seconds` is the age of the oldest, `limit` what the flow allows, both in seconds; `person` None: the map names
    nobody.
    """

    flow: str
    data_type: str
    target: str
    why: Why
    records: int
    seconds: float
    limit: float
    person: Contact | None

    @property
    def words(self) -> str:
        """Whom to call and why, in plain words."""
        many = self.records != 1
        what = (
            f"{self.records:,} change{'s' * many} to {self.target} {'have' if many else 'has'} waited"
            if self.why == "late"
            else f"{self.records:,} dead letter{'s' * many} {'have' if many else 'has'} been open"
        )
        whom = f"call {self.person}" if self.person else "no contact in the map: write `escalate_to:`"
        return f"{whom}: {what} up to {_span(self.seconds)}, and {_span(self.limit)} is the limit"


class Escalations:
    """A map's limits and people, read once."""

    def __init__(self, company: Map) -> None:
        self._limits = {
            flow.id: (_limit(flow), called_for(company, flow))
            for flow in company.flows
            if flow.runs and flow.escalate_after != "off"
        }

    def of(self, flows: Iterable[FlowState], now: float) -> Iterator[Escalation]:
        """What is over its limit at `now` (seconds since 1970). A schedule's own pauses don't count."""
        for flow in flows:
            limit, person = self._limits.get(flow.flow, (float("inf"), None))
            ways: tuple[tuple[Why, int, float, float], ...] = (
                ("late", flow.lag_records, flow.lag_seconds, flow.patience + limit),
                ("letters", flow.dead_letters, now - (flow.oldest_letter or now), limit),
            )
            for why, records, seconds, most in ways:
                if records and seconds > most:
                    yield Escalation(flow.flow, flow.data_type, flow.target, why, records, seconds, most, person)


def _limit(flow: Flow) -> float:
    try:
        return parse_duration(flow.escalate_after)
    except ValueError as error:
        raise SorbusError(f"{flow.id}: escalate_after: {error}") from error


def _span(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size or (seconds >= size and seconds % size == 0):
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
