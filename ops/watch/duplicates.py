"""How many records of each flow wait for a person to say whether the target has them, from the state database."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from sorbus.errors import SorbusError
from sorbus.identity.candidates import Candidates
from sorbus.map.model import Map
from sorbus.state import State

_log = structlog.get_logger(__name__)


class Duplicates:
    """Asks the state, but not for a map without systems behind HTTP. Unknown: none, and a log line."""

    def __init__(self, company: Map) -> None:
        http = {name for name, system in company.systems.items() if system.kind == "http"}
        self._flows = {flow.id: (flow.to, flow.data_type) for flow in company.flows if flow.runs and flow.to in http}
        self._prefix = company.topic_prefix
        self._reason = ""

    def __call__(self) -> Mapping[str, int]:
        """Flow -> open duplicate candidates, 0 where there are none."""
        if not self._flows:
            return {}
        try:
            counts = Candidates(State.of(self._prefix)).counts()
        except SorbusError as error:
            if str(error) != self._reason:  # once per reason, not once per measurement
                self._reason = str(error)
                _log.warning("how many duplicates wait can't be told", reason=self._reason)
            return {}
        self._reason = ""
        return {flow: counts.get(of, 0) for flow, of in self._flows.items()}
