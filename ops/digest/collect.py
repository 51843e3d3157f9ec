"""What digests report: a measurement, and what each kind of decision knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sorbus.ops.decisions.kind import DecisionKind
from sorbus.ops.digest.items import DigestPart, DigestRequest
from sorbus.ops.monitoring.measure import Measurement


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything between `since` and `until`, of the whole company."""

    since: datetime
    until: datetime
    measured: Measurement
    parts: tuple[DigestPart, ...] = ()


def gather(request: DigestRequest, kinds: Sequence[DecisionKind]) -> Facts:
    """Asks each kind. TransientError, AuthError."""
    parts = tuple(part for kind in kinds if (part := kind.digest(request)))
    return Facts(request.since, request.until, request.measured, parts)
