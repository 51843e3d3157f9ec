"""The least that a producer's role needs, exactly as docs/postgres.md grants it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from sorbus.schema import AvroType
from tests.producers.shop import Shop

DOCUMENT = Path(__file__).parents[2] / "docs" / "postgres.md"
ITEM: list[AvroType] = [{"name": "id", "type": "long"}, {"name": "name", "type": ["null", "string"]}]


def grants(role: str, database: str) -> str:
    """The document's own statements, for another role, database and table."""
    found = re.search(r"```sql\n( *-- the role\n.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)
    assert found, f"{DOCUMENT} has no block of SQL that begins with `-- the role`"
    return found[1].replace("sorbus_reader", role).replace("crm", database).replace("public.customers", "public.items")


def test_the_documented_grants_are_enough(make_shop: Callable[..., Shop], unique: str) -> None:
    shop = make_shop("create table items (id int primary key, name text); insert into items values (1, 'one')")
    database = shop.dsn.rpartition("/")[2]
    shop.describe({"item": (ITEM, {"table": "items"})})
    shop.apply()  # as the tables' owner, who makes the publication
    shop.execute(grants(unique, database))
    try:
        _runs_as(shop, make_conninfo(shop.dsn, user=unique, password="change-me"))
    finally:
        shop.close()
        shop.execute(f"drop owned by {unique}", f"drop role {unique}")


def _runs_as(shop: Shop, dsn: str) -> None:
    shop.describe({"item": (ITEM, {"table": "items"})}, dsn=dsn)
    with psycopg.connect(dsn) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("insert into items values (9, 'not mine')")
    tape = shop.tape("item")
    with shop.producing() as running:
        tape.wait_for({"1": {"id": 1, "name": "one"}})
        shop.execute("alter table items alter name set storage external", "update items set name = repeat('x', 9000)")
        tape.wait_for({"1": {"id": 1, "name": "x" * 9000}})
        shop.execute("update items set id = 2")
        tape.wait_for({"2": {"id": 2, "name": "x" * 9000}})
        assert running.error is None
