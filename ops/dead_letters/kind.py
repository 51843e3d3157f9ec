"""Dead letters as a kind of decision; dlq/ holds their store, actions and commands."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from sorbus.mapfile.model import Map
from sorbus.ops.dead_letters.counts import LetterCounts
from sorbus.ops.decisions.kind import ConsolePages, DecisionKind
from sorbus.ops.digest.items import DigestPart, DigestRequest
from sorbus.ops.monitoring.measure import Measurement
from sorbus.ops.trace.moment import Moment
from sorbus.ops.trace.record import TracedRecord
from sorbus.state.database import State


class LetterKind(DecisionKind):
    """What people do about dead letters: retry, edit, assign or discard."""

    name, item, counts = "dead_letters", "letter", LetterCounts

    def measure(self, company: Map, *, has_state: bool) -> Callable[[Measurement], LetterCounts]:
        owners = {name: system for system in company.systems for name in company.owned_by(system)}
        flows = [flow.id for flow in company.flows if flow.runs]
        return lambda measured: LetterCounts(measured.dead_letters, owners, flows)

    def pages(self) -> ConsolePages:
        from sorbus.ops.dead_letters.pages import routes

        return ConsolePages("Dead letters", "/letters", routes, Path(__file__).parent / "templates", "/letter?id=")

    def digest(self, request: DigestRequest) -> DigestPart:
        from sorbus.ops.dead_letters.digest import letter_digest

        return letter_digest(request)

    def trace(self, record: TracedRecord, state: State) -> Iterable[Moment]:
        from sorbus.ops.dead_letters.trace import LetterTrace

        return LetterTrace(record, self.item).indexed(state)

    def trace_without_state(self, record: TracedRecord) -> Iterable[Moment]:
        from sorbus.ops.dead_letters.trace import LetterTrace

        return LetterTrace(record, self.item).open()
