"""The rate limits and circuits of a map's systems behind HTTP, from the state database."""

from __future__ import annotations

from sorbus.http_api.limits.budgets import Budget, read_budgets
from sorbus.mapfile.model import Map
from sorbus.ops.monitoring.from_state import FromState
from sorbus.state import State


def budgets(company: Map) -> FromState[tuple[Budget, ...]]:
    """Asks the state, but not for a map without such systems, which needs none."""
    systems = {name for name, system in company.systems.items() if system.kind == "http"}

    def ask(state: State) -> tuple[Budget, ...]:
        return tuple(budget for budget in read_budgets(state) if budget.system in systems)

    return FromState(company.topic_prefix, ask, (), "what is left of the systems' rate limits", is_asked=bool(systems))
