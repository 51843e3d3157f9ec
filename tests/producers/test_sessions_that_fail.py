"""A source that takes every connection and then gives nothing: its producer isn't ready, since the first time."""

from __future__ import annotations

from collections.abc import Callable
from queue import Queue

import pytest

from sorbus.connector import Batch
from sorbus.errors import TransientError
from sorbus.producers.postgres.producer import PostgresProducer
from sorbus.telemetry.health import Health, Status
from tests.consumers.line import eventually
from tests.producers.shop import Shop
from tests.producers.test_owner_moves import ITEM, ITEMS


def test_a_producer_whose_sessions_open_and_fail_is_not_ready_since_the_first(
    make_shop: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as a server without a free replication slot: between two tries nothing was read, so nothing was well."""
    shop = make_shop(ITEMS)
    shop.describe({"item": (ITEM, {"table": "items"})})
    shop.apply()
    seen: list[Status] = []
    begun: Queue[Health] = Queue()

    def fail(self: PostgresProducer, wait: float) -> Batch | None:
        if len(seen) < 4:
            health = begun.get(timeout=30)
            begun.put(health)
            seen.append(health.status())
            raise TransientError("all replication slots are in use")
        return None

    monkeypatch.setattr(PostgresProducer, "read", fail)
    with shop.producing() as running:
        begun.put(running.health)
        eventually(lambda: len(seen) == 4, "that it tries again")
        eventually(lambda: running.health.status().ready, "that it works once it can read")
    first, *later = seen
    assert first.ready, "before the first reading nothing is known to be wrong"
    assert [one.ready for one in later] == [False] * 3
    assert len({one.since for one in later}) == 1, "it has been failing since the first"
