"""Whether Kafka is reachable, from librdkafka's own statistics: an idle client notices an outage too.

The statistics come with the client's other callbacks, whenever it is polled (librdkafka: STATISTICS.md).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

INTERVAL_MS = 5_000
_DOUBTS = 2
"""Consecutive statistics without a broker: a single one may fall into a reconnection."""


class Reachable:
    """Reads a client's statistics and reports by `changed` what is wrong with its Kafka; None: it works.

    `group`: the client's consumer group, which must also be known to its coordinator.
    """

    def __init__(self, address: str, changed: Callable[[str | None], None], *, group: str = "") -> None:
        self._address, self._changed, self._group = address, changed, group
        self._doubts = 0

    @property
    def settings(self) -> dict[str, Any]:
        """The client configuration that it needs."""
        return {"statistics.interval.ms": INTERVAL_MS, "stats_cb": self.heard}

    def heard(self, statistics: str) -> None:
        """Handles one report."""
        trouble = self._trouble(json.loads(statistics))
        self._doubts = 0 if trouble is None else self._doubts + 1
        if trouble is None or self._doubts >= _DOUBTS:
            self._changed(trouble)

    def _trouble(self, report: Mapping[str, Any]) -> str | None:
        brokers = [one for one in report.get("brokers", {}).values() if one.get("source") != "logical"]
        if not any(one.get("state") == "UP" for one in brokers):
            return f"Kafka can't be reached at {self._address}"
        group = report.get("cgrp")
        if not self._group or group is None:
            return None
        if group.get("state") != "up":
            return f"Kafka's coordinator of group {self._group} can't be reached ({group.get('state')})"
        if group.get("join_state") != "steady":
            return f"Kafka is still assigning group {self._group} its partitions ({group.get('join_state')})"
        return None
