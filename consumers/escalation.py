"""How long a flow is tried again before a person is called by name."""

from __future__ import annotations

from sorbus.connector import BoundFlow
from sorbus.timing.duration import parse_duration


class EscalationTimer:
    """One flow's limit (`escalate_after`), and the person to call then."""

    def __init__(self, flow: BoundFlow) -> None:
        written = flow.flow
        self._limit = float("inf") if written.escalate_after == "off" else parse_duration(written.escalate_after)
        person = written.escalate_to or flow.system.system.owner
        contact = f"call {person}" if person else f"find out who looks after {flow.system.name}"
        self._message = f"; retrying for longer than {written.escalate_after}: {contact}"

    def message(self, seconds: float) -> str:
        """What to add to a fault that has been tried again for so long; nothing while that is within the limit."""
        return self._message if seconds > self._limit else ""
