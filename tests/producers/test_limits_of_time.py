"""A role's or database's limits of time, made for people and programs, end no first copy and no stream."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from sorbus.ops.embedded import Addresses
from tests.producers.postgres.live import Live
from tests.producers.shop import Shop

ROWS = 10_000


@pytest.mark.parametrize("limit", ["statement_timeout", "idle_in_transaction_session_timeout", "transaction_timeout"])
def test_a_database_s_limit_ends_no_first_copy(make_shop: Callable[..., Shop], stack: Addresses, limit: str) -> None:
    shop = make_shop("create table slots (id int primary key, name text);")
    fields = [{"name": "id", "type": "long"}, {"name": "name", "type": ["null", "string"]}]
    shop.describe({"slot": (fields, {"table": "slots"})})
    shop.execute(f"insert into slots select n, repeat('wide ', 100) || n from generate_series(1, {ROWS}) n")
    live = Live(shop)
    if not shop.rows(f"select 1 from pg_settings where name = '{limit}'"):
        pytest.skip(f"this server has no {limit}")
    name = conninfo_to_dict(shop.dsn)["dbname"]
    with psycopg.connect(stack.database, autocommit=True) as server:
        server.execute(f"alter database {name} set {limit} = '1ms'".encode())
        live.wait(lambda: len(live.newest) == ROWS, lambda: f"{len(live.newest)} of {ROWS} records")
        server.execute(f"alter database {name} reset {limit}".encode())
    shop.execute("update slots set name = 'new' where id = 7")
    live.wait(lambda: live.records("slot")["7"]["name"] == "new", lambda: live.records("slot")["7"])
    live.close()
