"""Slots are kept for a failover, also those that were made without it; a failover itself: tests/acceptance."""

from __future__ import annotations

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from sorbus.producers.postgres.slot import FAILOVER
from tests.producers.conftest import MakeShop


def test_a_slot_of_an_earlier_release_is_kept_for_a_failover_and_continues(
    make_shop: MakeShop,
) -> None:
    shop = make_shop("create table items (id int primary key, v text); insert into items values (1, 'a')")
    kept = f"select failover from pg_replication_slots where slot_name = '{shop.slot}'"
    if shop.rows("select current_setting('server_version_num')::int")[0][0] < FAILOVER:  # type: ignore[operator]
        pytest.skip("this version can't")
    shop.describe({"item": ([{"name": "v", "type": ["null", "string"]}], {"table": "items"})})
    shop.apply()
    tape = shop.tape("item")
    with shop.producing():
        tape.wait(lambda: not tape.read() and len(tape.live()) == 1, lambda: f"{tape.live()}")
    assert shop.rows(kept) == [(True,)]
    with psycopg.connect(make_conninfo(shop.dsn, replication="database"), autocommit=True) as session:
        session.execute(f'ALTER_REPLICATION_SLOT "{shop.slot}" (FAILOVER false)'.encode())
    with shop.producing():
        shop.execute("insert into items values (2, 'b')")
        tape.wait(lambda: not tape.read() and len(tape.live()) == 2, lambda: f"{tape.live()}")
    assert shop.rows(kept) == [(True,)]
    assert len(tape.events) == 2
