"""Who did what of the manual flows, in the state database."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import cast

from psycopg.types.json import Jsonb
from pydantic import JsonValue

from sorbus.audit import AuditTrail
from sorbus.errors import SorbusError, UsageError
from sorbus.map.contact import contact as contact_of
from sorbus.mapfile.model import Flow, Manual, Map
from sorbus.ops.checklists.occurrences import Checklist, ChecklistStep, Round, in_hand
from sorbus.ops.checklists.sheets.figures import RoundFigure, as_json, from_json
from sorbus.ops.checklists.sheets.store import SheetStore
from sorbus.postgres.connection import Connection
from sorbus.spelling import closest
from sorbus.state import State
from sorbus.timing.schedule import Timing

HISTORY = 20
"""How many of the last rounds are shown."""
_FOLDER = Path(__file__).parent / "sql"


class Checklists:
    """The manual flows of a map. Every call may raise TransientError or AuthError, as `State` does."""

    def __init__(self, company: Map, state: State) -> None:
        self._state, self._company = state, company
        self.flows = {flow.id: flow for flow in company.flows if flow.manual is not None and flow.none is None}

    def all(self, now: datetime | None = None) -> list[Checklist]:
        """Every one of them, in the map's order. A schedule that wasn't known yet is from now on."""
        return [self._read(flow, now or datetime.now(UTC)) for flow in self.flows.values()]

    def get(self, flow: str, now: datetime | None = None) -> Checklist:
        """One of them; SorbusError if no flow of that name is done by hand."""
        if flow not in self.flows:
            raise UsageError(f"there is no manual flow called {flow!r}; {closest(flow, self.flows)}")
        return self._read(self.flows[flow], now or datetime.now(UTC))

    def tick(
        self, flow: str, numbers: Collection[int], who: str, *, undo: bool = False, round: datetime | None = None
    ) -> Checklist:
        """Notes that `who` has done these steps (counted from 1) of the round in hand, or with `undo` that they are to
        be done after all. SorbusError for a step that there isn't, a round that is done, or one in hand that isn't
        `round`, which the person was shown.
        """
        found = self.get(flow)
        self._refuse_done(found, round)
        for number in numbers:
            if not 1 <= number <= len(found.steps):
                raise SorbusError(f"{flow} has the steps 1 to {len(found.steps)}, and no step {number}")
        with self._state.connection() as connection:
            for number in numbers:
                step = found.steps[number - 1].words
                connection.execute(_statement("untick" if undo else "tick"), _of(found, step=step, who=who))
            self._note(connection, found, who, "untick" if undo else "tick", steps=", ".join(map(str, numbers)))
        return self.get(flow)

    def finish(
        self,
        flow: str,
        who: str,
        verification: str,
        round: datetime | None = None,
        figures: Sequence[RoundFigure] = (),
    ) -> Checklist:
        """The round in hand is done, and `verification` says what the look has shown, `figures` what was compared.

        Steps that nobody ticked are ticked for `who`, and the round's sheets are closed. SorbusError when it is done
        already, isn't `round`, which the person was shown, or `verification` says nothing.
        """
        found = self.get(flow)
        self._refuse_done(found, round)
        if not verification.strip():
            raise SorbusError(f"{flow}: enter the verification result ({found.verification})")
        with self._state.connection() as connection:
            for step in found.left:
                connection.execute(_statement("tick"), _of(found, step=step.words, who=who))
            values = _of(found, who=who, verification=verification.strip())
            values["figures"] = Jsonb(as_json(figures)) if figures else None
            if connection.execute(_statement("done"), values).fetchone() is None:
                raise SorbusError(
                    f"another person has just finished this round of {flow}; see `sorbus checklists show`"
                )
            connection.execute(_statement("close"), _of(found))
            self._note(connection, found, who, "finish", reason=verification.strip())
        return self.get(flow)

    def _note(
        self, connection: Connection, found: Checklist, who: str, action: str, *, reason: str = "", steps: str = ""
    ) -> None:
        details: dict[str, JsonValue] = {"round": found.round.isoformat()}
        if steps:
            details["steps"] = steps
        AuditTrail(self._state).note_in(
            connection, who, action, "checklist", found.flow, data_type=found.data_type, reason=reason, details=details
        )

    def _refuse_done(self, found: Checklist, shown: datetime | None) -> None:
        if found.is_done:
            last = found.done[0]
            raise SorbusError(
                f"{found.flow} is already done for this round, by {last.done_by} at"
                f" {last.done_at.astimezone():%Y-%m-%d %H:%M};"
                f" the next round starts at {last.due.astimezone():%Y-%m-%d %H:%M}"
            )
        if shown is not None and shown != found.round:
            raise SorbusError(
                f"{found.flow}: the round that you were shown is over; nothing was recorded. Reload for the current one"
            )

    def _timing(self, flow: str, manual: Manual) -> Timing:
        try:
            return self._company.due(manual.schedule)
        except ValueError as error:
            raise SorbusError(f"{flow}: its schedule can't be read, so nothing is ever due: {error}") from error

    def _read(self, flow: Flow, now: datetime) -> Checklist:
        manual = cast("Manual", flow.manual)
        [[since]] = self._state.run(_statement("know"), {"flow": flow.id, "schedule": manual.schedule})
        rows = self._state.run(_statement("last"), {"flow": flow.id, "most": HISTORY})
        done = tuple(
            Round(*cast("tuple[datetime, datetime, str, str]", row[:4]), tuple(from_json(row[4])) if row[4] else ())
            for row in rows
        )
        round, due, overdue_since = in_hand(self._timing(flow.id, manual), cast("datetime", since), done, now)
        rows = self._state.run(_statement("ticks"), {"flow": flow.id, "round": round})
        ticks = {str(step): (str(who), cast("datetime", at)) for step, who, at in rows}
        return Checklist(
            flow.id,
            flow.data_type,
            flow.to,
            contact_of(manual.responsible),
            manual.schedule,
            manual.verification,
            tuple(ChecklistStep(words, *ticks.get(words, (None, None))) for words in manual.checklist),
            round,
            due,
            overdue_since,
            done,
            SheetStore(self._state, flow.id, flow.data_type).newest(),
        )


def _of(found: Checklist, **values: object) -> dict[str, object]:
    return {"flow": found.flow, "round": found.round, **values}


@cache
def _statement(name: str) -> bytes:
    return (_FOLDER / f"{name}.sql").read_bytes()
