"""A manual flow's rounds: which one is to be done, and since when it should have been. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple

from pydantic import JsonValue

from sorbus.map.contact import Contact
from sorbus.ops.checklists.sheets.figures import RoundFigure, as_json
from sorbus.ops.checklists.sheets.prepared_sheet import PreparedSheet
from sorbus.timing.schedule import Timing

Standing = Literal["overdue", "open", "done", "on demand"]


class Round(NamedTuple):
    """A round that is done. `due` is when it had to be; one on demand goes by when the one before it was done."""

    due: datetime
    done_at: datetime
    done_by: str
    verification: str
    figures: tuple[RoundFigure, ...] = ()
    """What was counted and compared; none: only words say that it is right."""


@dataclass(frozen=True, slots=True)
class ChecklistStep:
    """One step of the round that is to be done; `who` and `at` once it is ticked."""

    words: str
    who: str | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Checklist:
    """A manual flow and how it stands. `round` names the one in hand; `due` is None on demand.

    overdue: the one in hand, or one before it, should have been done at `overdue_since`. done: nothing is to be done
    before the next round begins, at `due`.
    """

    flow: str
    data_type: str
    target: str
    responsible: Contact
    schedule: str
    verification: str
    steps: tuple[ChecklistStep, ...]
    round: datetime
    due: datetime | None
    overdue_since: datetime | None
    done: tuple[Round, ...]
    sheet: PreparedSheet | None = None
    """The newest prepared sheet."""

    @property
    def standing(self) -> Standing:
        if self.overdue_since is not None:
            return "overdue"
        if self.due is None:
            return "on demand"
        return "done" if self.is_done else "open"

    @property
    def is_done(self) -> bool:
        """Whether the round in hand is done already, before its time is up."""
        return self.due is not None and any(each.due == self.round for each in self.done)

    @property
    def left(self) -> tuple[ChecklistStep, ...]:
        """The steps that nobody has ticked yet."""
        return tuple(step for step in self.steps if step.who is None)

    @property
    def rounds_without_figures(self) -> int:
        """How many of the last rounds, without a break, were finished by words alone."""
        return next((place for place, each in enumerate(self.done) if each.figures), len(self.done))


def as_data(one: Checklist) -> dict[str, JsonValue]:
    """A checklist for machines; times as ISO 8601."""
    return {
        "flow": one.flow,
        "data_type": one.data_type,
        "target": one.target,
        "responsible": one.responsible.name,
        "address": one.responsible.address,
        "schedule": one.schedule,
        "standing": one.standing,
        "due": one.due.isoformat() if one.due else None,
        "overdue_since": one.overdue_since.isoformat() if one.overdue_since else None,
        "steps": [
            {"step": step.words, "ticked_by": step.who, "ticked_at": step.at.isoformat() if step.at else None}
            for step in one.steps
        ],
        "verification": one.verification,
        "done": [
            {
                "round": each.due.isoformat(),
                "at": each.done_at.isoformat(),
                "by": each.done_by,
                "verification": each.verification,
                "figures": as_json(each.figures),
            }
            for each in one.done
        ],
        "sheet": one.sheet.as_json() if one.sheet else None,
        "rounds_without_figures": one.rounds_without_figures,
    }


class InHand(NamedTuple):
    """The round that is to be done now."""

    round: datetime
    due: datetime | None
    overdue_since: datetime | None


def in_hand(timing: Timing, since: datetime, done: Sequence[Round], now: datetime) -> InHand:
    """The last round whose time is up, if it isn't done; else the one whose time comes next.

    `since` is when the schedule became known: nothing from before is overdue. Rounds that nobody did stay undone; doing
    the last one is enough, since every round brings the whole of the data over.
    """
    if timing.is_on_demand:
        return InHand(max((each.done_at for each in done), default=since), None, None)
    past, following = timing.last_until(now), timing.next_after(now)
    assert past is not None
    assert following is not None
    # One of later was of another schedule, or noted by a clock that was ahead.
    newest = max((each.due for each in done if each.due <= following), default=None)
    settled = since if newest is None else max(newest, since)
    if past <= settled:
        return InHand(following, following, None)
    return InHand(past, past, timing.next_after(settled))
