"""Checklists as a kind of decision: flows that people do by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sorbus.mapfile.model import Map
from sorbus.ops.checklists.occurrences import Checklist
from sorbus.ops.checklists.standings import ChecklistStandings, checklist_standings
from sorbus.ops.checklists.store import HISTORY
from sorbus.ops.decisions.kind import ConsolePages, DecisionKind
from sorbus.ops.digest.items import DigestItem, DigestRequest
from sorbus.ops.digest.recipient import Recipient
from sorbus.ops.monitoring.measure import Measurement

MANY_ROUNDS = 3
"""So many rounds in a row without figures are told of."""


class ChecklistKind(DecisionKind):
    """What people do by hand, and verify."""

    name, item, counts = "checklists", "checklist", ChecklistStandings

    def measure(self, company: Map, *, has_state: bool) -> Callable[[Measurement], ChecklistStandings]:
        return checklist_standings(company, has_state=has_state).unless_away

    def pages(self) -> ConsolePages:
        from sorbus.ops.checklists.pages import routes

        return ConsolePages("Checklists", "/checklists", routes, Path(__file__).parent / "templates", "/checklists/")

    def digest(self, request: DigestRequest) -> ChecklistDigest:
        return ChecklistDigest(request.measured.of(ChecklistStandings))


@dataclass(frozen=True, slots=True)
class ChecklistDigest:
    """What is due or overdue, for who does it or owns the target."""

    standings: ChecklistStandings
    title: str = "Manual checklists"

    def items(self, recipient: Recipient) -> Iterator[DigestItem]:
        for one in self.standings.checklists:
            if not (recipient.is_responsible_for(one.flow) or recipient.owns_target(one.flow)):
                continue
            overdue = one.overdue_since
            if overdue is not None:
                words = f"overdue since {overdue.astimezone():%Y-%m-%d %H:%M}; responsible: {one.responsible.name}"
                yield DigestItem(f"{one.flow}: {words}", f"/checklists/{one.flow}")
            elif one.due is not None and not one.is_done:
                words = f"due by {one.due.astimezone():%Y-%m-%d %H:%M}; responsible: {one.responsible.name}"
                yield DigestItem(f"{one.flow}: {words}", f"/checklists/{one.flow}", grave=False)
            for words in _not_verified(one):
                yield DigestItem(f"{one.flow}: {words}", f"/checklists/{one.flow}", grave=False)


def _not_verified(one: Checklist) -> Iterator[str]:
    """What people have not done or not counted."""
    if (sheet := one.sheet) is not None and sheet.left + sheet.not_done:
        not_done = f"{sheet.not_done:,} of {sheet.rows:,} changes are marked not done"
        yield f"sheet {sheet.code}: {not_done}, {sheet.left:,} are not answered"
    if sheet is not None and sheet.closed_at is None and sheet.more:
        yield f"sheet {sheet.code}: {sheet.more:,} more changes did not fit; prepare the next one"
    if sheet is not None and sheet.left_out:
        yield f"sheet {sheet.code}: {sheet.left_out:,} records could not be listed; the sheet says why"
    if (count := one.rounds_without_figures) >= MANY_ROUNDS:
        since = one.done[count - 1].done_at
        least = "at least " if count == HISTORY else ""
        yield (
            f"done {least}{count} times since {since.astimezone():%Y-%m-%d} without counting: nobody knows whether"
            f" {one.target} is right. Prepare a sheet (`sorbus checklists sheet {one.flow}`) and import it"
        )
