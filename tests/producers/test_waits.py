"""While other people's transactions hold a producer up, it comes round and says so, and then it goes on."""

from __future__ import annotations

import time
from collections.abc import Callable

import psycopg

from sorbus.schema import AvroType
from tests.producers.shop import Shop

ITEM: list[AvroType] = [{"name": "id", "type": "long"}, {"name": "name", "type": ["null", "string"]}]


def test_a_long_transaction_holds_the_initial_snapshot_up(make_shop: Callable[..., Shop]) -> None:
    shop = make_shop("create table items (id int primary key, name text); insert into items values (1, 'one')")
    shop.describe({"item": (ITEM, {"table": "items"})})
    shop.apply()
    tape = shop.tape("item")
    with psycopg.connect(shop.dsn) as other, shop.producing() as running:
        other.execute("insert into items values (2, 'two')")
        rounds, end = 0, time.monotonic() + 60
        while running.health.rounds < rounds + 3:
            assert time.monotonic() < end, f"after {running.health.rounds} rounds it says {running.health.waiting()!r}"
            assert running.thread.is_alive(), running.error
            assert not running.stop.wait(0.05)
            if "waits for current transactions" not in str(running.health.waiting()):
                rounds = running.health.rounds
        other.commit()
        tape.wait(lambda: set(tape.live()) == {"1", "2"}, "both records")
        tape.wait(lambda: running.health.waiting() is None, "readiness")
