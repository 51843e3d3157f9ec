"""Tables as companies have them: partitioned, with computed columns, with names that must be quoted."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from sorbus.schema import AvroType
from tests.producers.shop import Record, Shop

MakeShop = Callable[..., Shop]
NULL_STRING: AvroType = ["null", "string"]
ITEM: list[AvroType] = [{"name": "id", "type": "long"}, {"name": "name", "type": NULL_STRING}]


def item(id: int, name: str) -> Record:
    return {"id": id, "name": name}


def test_a_partitioned_table_is_one_and_its_rows_move_between_partitions(make_shop: MakeShop) -> None:
    shop = make_shop(
        "create table items (id int, region text, name text, primary key (id, region)) partition by list (region);"
        "create table items_north partition of items for values in ('north');"
        "create table items_south partition of items for values in ('south') partition by range (id);"
        "create table items_south_low partition of items_south for values from (0) to (100);"
        "create table items_south_high partition of items_south for values from (100) to (1000);"
        "insert into items values (1, 'north', 'one'), (2, 'south', 'two'), (200, 'south', 'two hundred')"
    )
    shop.describe({"item": (ITEM, {"table": "items", "key": ["id"]})})
    shop.apply(told="no unique index")
    tape = shop.tape("item")
    with shop.producing():
        tape.wait_for({"1": item(1, "one"), "2": item(2, "two"), "200": item(200, "two hundred")})
        shop.execute(
            "update items set name = 'zwei' where id = 2",
            "update items set region = 'south' where id = 1",
            "create table items_west partition of items for values in ('west')",
            "insert into items values (3, 'west', 'three')",
            "delete from items where id = 200",
        )
        tape.wait_for({"1": item(1, "one"), "2": item(2, "zwei"), "3": item(3, "three")})
        shop.execute("truncate items")
        tape.wait_for({})
    assert shop.dead_letters("item").letters == {}


def test_columns_that_the_server_computes_are_there_in_the_stream_too(make_shop: MakeShop, server_version: int) -> None:
    virtual = "virtual" if server_version >= 18 else "stored"
    shop = make_shop(
        "create table items (id int primary key, name text, shout text generated always as (upper(name)) stored,"
        f" length int generated always as (length(name)) {virtual});"
        "insert into items (id, name) values (1, 'one')"
    )
    fields = [*ITEM, {"name": "shout", "type": NULL_STRING}, {"name": "length", "type": ["null", "int"]}]
    shop.describe({"item": (fields, {"table": "items"})})
    shop.apply()
    tape = shop.tape("item")
    with shop.producing():
        tape.wait_for({"1": {**item(1, "one"), "shout": "ONE", "length": 3}})
        shop.execute("insert into items (id, name) values (2, 'zwei')", "update items set name = 'eins' where id = 1")
        tape.wait_for(
            {
                "1": {**item(1, "eins"), "shout": "EINS", "length": 4},
                "2": {**item(2, "zwei"), "shout": "ZWEI", "length": 4},
            }
        )


@pytest.mark.slow
def test_columns_that_the_publication_does_not_list_are_there_in_the_stream_too(
    make_shop: MakeShop, server_version: int
) -> None:
    if server_version < 15:
        pytest.skip("PostgreSQL 15 brought column lists")
    shop = make_shop("create table items (id int primary key, name text); insert into items values (1, 'one')")
    shop.describe({"item": (ITEM, {"table": "items"})})
    shop.apply()
    shop.execute(f"alter publication {shop.slot} set table items (id)")
    tape = shop.tape("item")
    with shop.producing():
        tape.wait_for({"1": item(1, "one")})
        shop.execute("insert into items values (2, 'two')", "update items set name = 'eins' where id = 1")
        tape.wait_for({"1": item(1, "eins"), "2": item(2, "two")})


@pytest.mark.slow
def test_names_that_must_be_quoted(make_shop: MakeShop) -> None:
    table = '"Our Shop"."Items ""x"""'
    shop = make_shop(
        f'create schema "Our Shop"; create table {table} ("Id" int primary key, "Näme" text);'
        f"insert into {table} values (1, 'one')"
    )
    sheet = [("Id", "item.id", ""), ("Näme", "item.name", "")]
    shop.describe({"item": (ITEM, {"table": 'Our Shop.Items "x"'})}, sheet=sheet)
    shop.apply()
    tape = shop.tape("item")
    with shop.producing():
        tape.wait_for({"1": item(1, "one")})
        shop.execute(f"""update {table} set "Näme" = 'eins'""")
        tape.wait_for({"1": item(1, "eins")})


@pytest.mark.slow
def test_what_is_rolled_back_to_a_savepoint_never_comes(make_shop: MakeShop) -> None:
    shop = make_shop("create table items (id int primary key, name text); insert into items values (1, 'one')")
    shop.describe({"item": (ITEM, {"table": "items"})})
    shop.apply()
    tape = shop.tape("item")
    with shop.producing(), psycopg.connect(shop.dsn) as other:
        tape.wait_for({"1": item(1, "one")})
        other.execute("insert into items values (2, 'two'); savepoint s; insert into items values (9, 'nine')")
        other.execute("rollback to savepoint s; insert into items values (3, 'three')")
        other.commit()
        tape.wait_for({"1": item(1, "one"), "2": item(2, "two"), "3": item(3, "three")})
    assert tape.events_of("9") == []
