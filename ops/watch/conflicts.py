"""How many fields of each flow were changed by hand in its target, from the state database."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from sorbus.conflict.store import Conflicts
from sorbus.connector import Compares, consumer_connector, known_kinds
from sorbus.errors import SorbusError
from sorbus.map.model import Map
from sorbus.state import State

_log = structlog.get_logger(__name__)
STATES = ("open", "overwritten")


class ConflictCounts:
    """Asks the state, but not for a map without targets that are compared. Unknown: none, and a log line."""

    def __init__(self, company: Map) -> None:
        known = known_kinds("sorbus.consumers")
        compared = {kind for kind in known if isinstance(consumer_connector(kind), Compares)}
        targets = {name for name, system in company.systems.items() if system.kind in compared}
        self._flows = {flow.id: (flow.to, flow.data_type) for flow in company.flows if flow.runs and flow.to in targets}
        self._prefix = company.topic_prefix
        self._reason = ""

    def __call__(self) -> Mapping[tuple[str, str], int]:
        """(Flow, state) -> open conflicts, and those overwritten within a day; 0 where there are none."""
        if not self._flows:
            return {}
        try:
            counts = Conflicts(State.of(self._prefix)).counts()
        except SorbusError as error:
            if str(error) != self._reason:  # once per reason, not once per measurement
                self._reason = str(error)
                _log.warning("how many conflicts there are can't be told", reason=self._reason)
            return {}
        self._reason = ""
        return {(flow, state): counts.get((*of, state), 0) for flow, of in self._flows.items() for state in STATES}
