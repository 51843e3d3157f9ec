"""How often the catalog is looked at for partitions that the stream has named: no more than helps."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from sorbus.producers.postgres import open_source
from sorbus.producers.postgres.open_source import OpenSource
from sorbus.producers.postgres.position import PostgresPosition
from sorbus.schema import AvroType
from tests.producers.postgres.live import Live
from tests.producers.shop import Shop

TEXT: list[AvroType] = [{"name": "v", "type": ["null", "string"]}]
TABLES = """
create table parts (id int primary key, v text) partition by range (id);
create table others (id int primary key, v text) partition by range (id);
create table items (id int primary key, v text);
insert into items values (1, 'a')
"""


def made(shop: Shop, live: Live, table: str, number: int) -> None:
    """A new partition with a row, which the stream tells of."""
    low, high = number * 10, number * 10 + 10
    shop.execute(
        f"create table {table}_{number} partition of {table} for values from ({low}) to ({high})",
        f"insert into {table} values ({low}, 'x')",
        f"update items set v = '{table} {number}'",
    )
    live.wait(lambda: live.records("item")["1"] == {"v": f"{table} {number}"}, lambda: live.records("item"))


def test_looks_are_few(make_shop: Callable[[str], Shop], monkeypatch: pytest.MonkeyPatch) -> None:
    looks, look = [0], OpenSource.look_again

    def counted(self: OpenSource, state: PostgresPosition) -> PostgresPosition:
        looks[0] += 1
        return look(self, state)

    monkeypatch.setattr(OpenSource, "look_again", counted)
    monkeypatch.setattr(open_source, "_LOOK_EVERY", 1000.0)
    shop = make_shop(TABLES)
    shop.describe({"item": (TEXT, {"table": "items"}), "part": (TEXT, {"table": "parts"})})
    shop.execute(f"create publication {shop.slot} for all tables with (publish_via_partition_root = true)")
    live = Live(shop)
    live.wait(lambda: len(live.records("item")) == 1, lambda: live.records("item"))
    looks[0] = 0
    for number in range(3):
        made(shop, live, "others", number)
    assert looks[0] == 0, "nobody reads this table"
    made(shop, live, "parts", 1)
    assert looks[0] == 1
    with psycopg.connect(shop.dsn) as session:
        session.execute("lock table parts in access exclusive mode")
        session.execute("insert into parts values (11, 'y')")
        session.execute("create table parts_2 partition of parts for values from (20) to (30)")
        session.execute("insert into parts values (20, 'x')")
        session.commit()
        session.execute("lock table parts in access exclusive mode")
        live.wait(lambda: "20" in live.records("part"), lambda: live.records("part"))
        for number in range(5):
            made(shop, live, "others", number + 10)
        assert looks[0] <= 2, "a look that a lock keeps from succeeding is not made at each batch"
    live.close()
