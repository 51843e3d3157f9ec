"""How many fields of each system have changed, from the state database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import structlog

from sorbus.drift.store import DriftStore
from sorbus.drift.watch import has_state
from sorbus.errors import SorbusError
from sorbus.settings import Settings
from sorbus.state import State

_log = structlog.get_logger(__name__)
Drifts = Mapping[tuple[str, str], int]
"""(System, severity) -> open findings."""


class DriftCounts:
    """Asks the state, where SORBUS_DATABASE names one. Unknown: none, and a log line."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._has_state = has_state(Settings())
        self._reason = ""

    def __call__(self) -> Drifts:
        """How much has changed where."""
        if not self._has_state:
            return {}
        try:
            found = DriftStore(State.of(self._prefix)).findings()
        except SorbusError as error:
            if str(error) != self._reason:  # once per reason, not once per measurement
                self._reason = str(error)
                _log.warning("whether sources have changed can't be told", reason=self._reason)
            return {}
        self._reason = ""
        return Counter((one.system, one.severity) for one in found)
