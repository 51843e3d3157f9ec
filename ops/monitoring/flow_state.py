"""How a flow is doing, as it was measured from outside its processes."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sorbus.bus.controls import FlowPause
from sorbus.ops.monitoring.problems import Problem

FLOW_LABELS = ("flow", "data_type", "target")
"""Labels of a metric of a flow."""
GRACE = 300.0
"""Seconds that a flow may be later than its timing before somebody should look; the alert rules say the same."""


@dataclass(frozen=True, slots=True)
class FlowState:
    """How a flow is doing. `lag_seconds` is the age of the first event not yet delivered, 0 if there is none.

    `position` only grows while events are delivered; `rate` is in events a second since the last look, None before.
    `period` is how old in seconds the oldest change that waits may become by the flow's timing and quiet hours, 0 for
    real-time outside them; while none waits, the longest time between two runs.
    """

    flow: str
    data_type: str
    target: str
    state: str
    members: int
    position: int
    lag_records: int
    lag_seconds: float
    rate: float | None
    dead_letters: int
    last_change: float | None
    period: float
    oldest_letter: float | None = None
    """When the first of its open dead letters was written, in seconds since 1970."""
    problem: Problem | None = None
    """Why it doesn't deliver, by its consumer's own report or since its target is away."""
    source_problem: Problem | None = None
    """Why nothing new comes to it: what is wrong with the system of record, or its producer."""
    pause: FlowPause | None = None
    """Who has paused it."""
    next_run: float | None = None
    """When it delivers next, in seconds since 1970; None if it delivers now."""
    quiet_until: float | None = None
    """When its quiet hours end, in seconds since 1970; None outside of them."""
    times: str = ""
    """When it delivers, in words: quiet until 06:00 Europe/London; runs next at 18:00 UTC; "" if it delivers now."""

    @property
    def labels(self) -> tuple[str, str, str]:
        """The values of FLOW_LABELS."""
        return self.flow, self.data_type, self.target

    @property
    def patience(self) -> float:
        """Seconds that it may pause by its timing; without limit while a person (and not the flow itself) paused it."""
        return self.period if self.pause is None or self.pause.is_own else math.inf

    @property
    def complaint(self) -> str | None:
        """Why somebody should look at it, in plain words; None if it is well."""
        if self.problem:
            return self.problem.words
        if self.pause is not None and self.pause.is_own:
            return self.pause.words
        if self.members == 0 and self.lag_records and self.lag_seconds > self.patience + 60:
            return "changes are waiting and no consumer runs"
        if self.members == 0 and not self.patience:
            return "no consumer runs"
        if self.lag_seconds > self.patience + GRACE:
            return f"{self.lag_seconds:.0f} s behind"
        if self.dead_letters:
            return f"{self.dead_letters} dead letter{'s' * (self.dead_letters != 1)} open"
        return None
