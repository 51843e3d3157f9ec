"""What a flow's figures say about its timing. Rules that each name their figures; no I/O.

More failures never speak for real-time, more use never for less, and with too little measured nothing is said.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from sorbus.advice.evidence import FlowEvidence

ENOUGH_DAYS = 14.0
"""Days that must have been measured before anything is said."""
UNNEEDED_DAYS = 28.0
"""The same before a flow may be called unneeded."""
RARE_A_MONTH = 5.0
"""Changes in 30 days up to which people are quicker than what Sorbus has to be told."""
ASKED_EVERY = 7.0
"""Days: a flow that people let deliver at once more often than that is used."""
IMPATIENT = 0.5
"""Requests a day from which on the timing is too slow."""


class Verdict(Enum):
    """What to do. In the order of how much less the flow does."""

    TOO_EARLY = "too early to say"
    FASTER = "should be real-time"
    KEEP = "right as it is"
    SLOWER = "needn't be real-time"
    BY_HAND = "cheaper by hand"
    UNNEEDED = "not needed"


@dataclass(frozen=True, slots=True)
class Advice:
    """One flow's verdict, why with the figures, and the line to write into the map ("" for none).

    `worst_delay`: seconds that a change may wait with that line; None where nothing changes.
    """

    flow: str
    verdict: Verdict
    why: str
    write: str = ""
    worst_delay: float | None = None


_SLOWER = ((0.01, "daily at 06:00", 86400.0), (0.05, "every 4h", 14400.0), (0.15, "every 1h", 3600.0))
"""With changes in at most this part of all hours: the timing, and its worst delay in seconds."""


def judge(found: FlowEvidence) -> Advice:
    """One flow's advice."""
    period = f"in {found.captured_days:.0f} days"
    if found.days < ENOUGH_DAYS:
        measured = f"measured for {found.days:.1f} of {ENOUGH_DAYS:.0f} days"
        return Advice(found.flow, Verdict.TOO_EARLY, measured)
    a_day = found.syncs / found.days
    figures = (
        f"{_many(found.total, 'change')} in {_many(found.busy_hours, 'hour')} ({found.busy_share:.1%} of all),"
        f" {_many(found.letters, 'dead letter')}, {_many(found.conflicts, 'conflict')},"
        f" {_many(found.syncs, 'request')} to deliver at once, {period}"
    )
    if not found.is_real_time and a_day >= IMPATIENT and found.failures <= found.total:
        return Advice(
            found.flow, Verdict.FASTER, f"people don't wait for {found.timing}: {figures}", "timing: real-time"
        )
    if found.syncs * ASKED_EVERY >= found.days:
        return Advice(found.flow, Verdict.KEEP, f"people ask for it: {figures}")
    if (unneeded := _unneeded(found, figures)) is not None:
        return unneeded
    a_month = found.total * 30 / found.captured_days
    if a_month <= RARE_A_MONTH and found.failures >= found.total:
        why = f"people look at it as often as anything changes: {figures}"
        write = "manual: {checklist: [...], schedule: weekly, responsible: ..., verification: ...}"
        return Advice(found.flow, Verdict.BY_HAND, why, write, 7 * 86400.0)
    if found.is_real_time:
        for share, timing, delay in _SLOWER:
            if found.busy_share <= share:
                why = f"changes come rarely or in bursts: {figures}"
                return Advice(found.flow, Verdict.SLOWER, why, f"timing: {timing}", delay)
    return Advice(found.flow, Verdict.KEEP, figures)


def _unneeded(found: FlowEvidence, figures: str) -> Advice | None:
    if found.days < UNNEEDED_DAYS:
        return None
    if not found.total and not found.landed:
        why = f"nothing has changed: {figures}"
        return Advice(found.flow, Verdict.UNNEEDED, why, f"none: nothing changed in {found.captured_days:.0f} days")
    if found.unread_days is not None and found.unread_days >= UNNEEDED_DAYS:
        why = f"nobody has read the target's rows for {found.unread_days:.0f} days: {figures}"
        return Advice(found.flow, Verdict.UNNEEDED, why, f"none: not read in {found.unread_days:.0f} days")
    return None


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"
