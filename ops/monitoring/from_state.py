"""What the watch asks the state database again and again; it goes on without what isn't answered, and says so."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

from sorbus.errors import SorbusError
from sorbus.ops.monitoring.state_answers import Untold
from sorbus.state import State

if TYPE_CHECKING:
    from sorbus.ops.monitoring.measure import Measurement

_log = logging.getLogger(__name__)
T = TypeVar("T")


class FromState(Generic[T]):
    """Calls `ask` with the state of the map with this topic prefix; Untold, and a log line, when that fails.

    `what` names what is asked, and `unknown` stands for it. Where `is_asked` says no, the state isn't touched.
    """

    def __init__(self, prefix: str, ask: Callable[[State], T], unknown: T, what: str, *, is_asked: bool) -> None:
        self._prefix, self._ask, self._unknown, self._what, self._is_asked = prefix, ask, unknown, what, is_asked
        self._reason = ""

    def unless_away(self, measured: Measurement) -> T:
        """The same, without asking while the state database is known to be away, which takes its time."""
        return self() if measured.has_state else self._unknown

    def __call__(self) -> T:
        if not self._is_asked:
            return self._unknown
        try:
            found = self._ask(State.of(self._prefix))
        except SorbusError as error:
            if str(error) != self._reason:  # once per reason, not once per measurement
                self._reason = str(error)
                _log.warning("%s unavailable", self._what, extra={"reason": self._reason})
            raise Untold(self._what, str(error), self._unknown) from error
        except Exception as error:  # what another release, or a hand, has stored: all else is measured
            reason = f"what it holds can't be read: {type(error).__name__}: {error}"
            if reason != self._reason:
                self._reason = reason
                _log.exception("%s unavailable", self._what)
            raise Untold(self._what, reason, self._unknown) from error
        self._reason = ""
        return found
