"""A producer is gone within ten seconds of SIGTERM, whatever it waits for just then, and the next one goes on."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable

import psycopg
import pytest

from sorbus.schema import AvroType
from tests.producers.shop import Shop

MakeShop = Callable[..., Shop]
MAKING = """
select pid from pg_stat_activity
where datname = current_database() and query like 'CREATE_REPLICATION_SLOT%' and wait_event_type = 'Lock'
"""
ITEM: list[AvroType] = [{"name": "id", "type": "long"}, {"name": "name", "type": ["null", "string"]}]


def test_while_a_long_transaction_keeps_the_slot_from_being_made(make_shop: MakeShop) -> None:
    shop = make_shop("create table items (id int primary key, name text); insert into items values (1, 'one')")
    shop.describe({"item": (ITEM, {"table": "items"})})
    shop.apply()
    with psycopg.connect(shop.dsn) as other, shop.process() as process:
        other.execute("insert into items values (2, 'two')")
        wait_until_blocked(shop)
        assert status_after_sigterm(process, shop) == 0
        assert shop.rows(MAKING) == [], "the server still makes a slot that nobody will use"
    tape = shop.tape("item")
    with shop.producing():
        tape.wait(lambda: set(tape.live()) == {"1", "2"}, "both records")


def wait_until_blocked(shop: Shop) -> None:
    """Until the server waits for other transactions before it makes the slot."""
    end = time.monotonic() + 60
    while not shop.rows(MAKING):
        assert time.monotonic() < end, f"nobody makes a slot:\n{shop.log.read_text()}"
        time.sleep(0.05)


def status_after_sigterm(process: subprocess.Popen[bytes], shop: Shop) -> int:
    process.send_signal(signal.SIGTERM)
    try:
        return process.wait(10)
    except subprocess.TimeoutExpired:
        pytest.fail(f"not gone ten seconds after SIGTERM:\n{shop.log.read_text()}", pytrace=False)
