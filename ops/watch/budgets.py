"""The rate limits and circuits of a map's systems behind HTTP, from the state database."""

from __future__ import annotations

import structlog

from sorbus.api.limits.budgets import Budget, read_budgets
from sorbus.errors import SorbusError
from sorbus.map.model import Map
from sorbus.state import State

_log = structlog.get_logger(__name__)


class Budgets:
    """Asks the state, but not for a map without such systems, which needs none. Unknown: none, and a log line."""

    def __init__(self, company: Map) -> None:
        self._systems = {name for name, system in company.systems.items() if system.kind == "http"}
        self._prefix = company.topic_prefix
        self._reason = ""

    def __call__(self) -> tuple[Budget, ...]:
        if not self._systems:
            return ()
        try:
            budgets = read_budgets(State.of(self._prefix))
        except SorbusError as error:
            if str(error) != self._reason:  # once per reason, not once per measurement
                self._reason = str(error)
                _log.warning("the systems' rate limits can't be told", reason=self._reason)
            return ()
        self._reason = ""
        return tuple(budget for budget in budgets if budget.system in self._systems)
