"""How many records of each flow wait, and for what, from the state database."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from sorbus.drift.watch import has_state
from sorbus.errors import SorbusError
from sorbus.map.model import Map
from sorbus.settings import Settings
from sorbus.state import State
from sorbus.waiting.room import counts

_log = structlog.get_logger(__name__)
WHYS = ("reference", "incomplete")
Waits = Mapping[tuple[str, str], int]
"""(Flow, why) -> records."""


class WaitingCounts:
    """Asks the state, where SORBUS_DATABASE names one. Unknown: none, and a log line."""

    def __init__(self, company: Map) -> None:
        self._prefix = company.topic_prefix
        self._flows = [flow.id for flow in company.flows if flow.runs]
        self._has_state = has_state(Settings())
        self._reason = ""

    def __call__(self) -> Waits:
        """How many wait, 0 where none does."""
        if not self._has_state:
            return {}
        try:
            found = counts(State.of(self._prefix))
        except SorbusError as error:
            if str(error) != self._reason:  # once per reason, not once per measurement
                self._reason = str(error)
                _log.warning("which records wait can't be told", reason=self._reason)
            return {}
        self._reason = ""
        return {(flow, why): found.get((flow, why), 0) for flow in self._flows for why in WHYS}
