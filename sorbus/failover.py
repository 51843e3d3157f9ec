"""What a connector may offer whose source can fail over, be restored, or lose what comes after a position."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from sorbus.connector import BoundSystem, Position


@runtime_checkable
class SupportsFailover(Protocol):
    """A producer connector that knows the standbys of its source."""

    def standby_faults(self, system: BoundSystem) -> list[str] | None:
        """Why a standby couldn't take over without a resnapshot, each with its fix; None where no standby is known.

        TransientError, AuthError: the primary can't be asked.
        """


@runtime_checkable
class SupportsPositionCheck(Protocol):
    """A producer connector that can tell, beside a running producer, whether a stored position still holds."""

    def position_fault(self, system: BoundSystem, stored: Callable[[], Position | None]) -> str | None:
        """Why the source can't continue from the stored position, with the page to follow; None if it can.

        `stored` is called once what may move meanwhile was read. TransientError, AuthError.
        """
