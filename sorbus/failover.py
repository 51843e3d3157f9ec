"""What a connector may offer whose source has standbys that can take over."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from sorbus.connector import BoundSystem


@runtime_checkable
class SupportsFailover(Protocol):
    """A producer connector that knows the standbys of its source."""

    def standby_faults(self, system: BoundSystem) -> list[str] | None:
        """Why a standby couldn't take over without a resnapshot, each with its fix; None where no standby is known.

        TransientError, AuthError: the primary can't be asked.
        """
