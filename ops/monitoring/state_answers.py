"""What the state database doesn't say although it is asked, as a problem that people see."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

from sorbus.errors import SorbusError
from sorbus.ops.monitoring.problems import Problem

T = TypeVar("T")


class Untold(SorbusError):
    """The state database doesn't say `what`, for this `reason`; `instead` stands for it."""

    def __init__(self, what: str, reason: str, instead: object) -> None:
        self.what, self.reason, self.instead = what, reason, instead
        super().__init__(f"{what}: {reason}")


class StateAnswers:
    """What one measurement after another is told; figures that stand for unknown ones look as if nothing were wrong."""

    def __init__(self) -> None:
        self._untold: list[Untold] = []
        self._since: float | None = None

    def told(self, ask: Callable[[], T]) -> T:
        """The answer, or what stands for it."""
        try:
            return ask()
        except Untold as error:
            self._untold.append(error)
            return cast("T", error.instead)

    def problems(self, now: float) -> list[Problem]:
        """What wasn't answered since the last call; `now` in seconds since 1970."""
        untold, self._untold = self._untold, []
        self._since = (self._since or now) if untold else None
        if not untold:
            return []
        why = f"it doesn't say {', '.join(one.what for one in untold)}: {untold[0].reason}"
        return [Problem("dependency", "state", "not readable", self._since, why)]
