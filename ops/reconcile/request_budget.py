"""How many requests a flow's comparisons may send: counted over the UTC day, whoever starts them."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from sorbus.errors import BudgetSpent
from sorbus.state.database import State


class RequestBudget:
    """One flow's. TransientError, AuthError as `State`."""

    def __init__(self, state: State, flow: str, a_day: int | None) -> None:
        """`a_day` None: counted, not limited."""
        self._state, self._flow, self.a_day, self.taken = state, flow, a_day, 0

    @property
    def left(self) -> int | None:
        """How many are left today; None: as many as it takes."""
        if self.a_day is None:
            return None
        ((spent,),) = self._state.run(_statement("requests_spent"), {"flow": self._flow})
        return max(0, self.a_day - int(str(spent)))

    def take(self) -> None:
        """Counts a request that is about to be sent. BudgetSpent where none is left."""
        if not self._state.run(_statement("take_request"), {"flow": self._flow, "most": self.a_day}):
            raise BudgetSpent(self.sentence)
        self.taken += 1

    @property
    def sentence(self) -> str:
        """What is said once it is spent."""
        return (
            f"today's {self.a_day:,} requests of flow {self._flow} are used up (requests_a_day); it continues after"
            " 00:00 UTC, or with --all"
        )


@cache
def _statement(name: str) -> bytes:
    return (files("sorbus.ops.reconcile") / "sql" / f"{name}.sql").read_bytes()
