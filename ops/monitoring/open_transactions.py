"""Transactions that somebody leaves open: they hide what comes after them from all who read what is committed."""

from __future__ import annotations

from collections.abc import Mapping

from confluent_kafka.admin import AdminClient

from sorbus.ops.monitoring import offsets
from sorbus.ops.monitoring.offsets import Part

_OPEN = 120.0
"""Seconds after which one that is still open is a finding: those of producers end within 60."""


def hidden_words(admin: AdminClient, ends: Mapping[Part, int], now: float) -> list[str]:
    """What they hide, in words. `ends`: partition -> its end for readers of what is committed. TransientError."""
    logs = offsets.log_ends(admin, list(ends))
    behind = {part: end for part, end in sorted(ends.items()) if end < logs[part]}
    recent = offsets.first_since(admin, list(behind), now - _OPEN)
    return [
        f"{part[0]} (partition {part[1]}): a transaction has been open since offset {end:,}. It hides all that came"
        f" after it ({logs[part] - end:,} offsets) from all who read the topic, and no lag shows;"
        " `kafka-transactions.sh find-hanging` and `abort` end it (docs/runbooks/topic-lost.md)"
        for part, end in behind.items()
        if not 0 <= recent[part] <= end
    ]
