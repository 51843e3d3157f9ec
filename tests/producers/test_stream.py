"""From PostgreSQL to Kafka: initial snapshot and stream of plain tables, on real servers."""

from __future__ import annotations

import threading
from collections.abc import Callable

import psycopg
import pytest

from sorbus.errors import MapError
from sorbus.producers.postgres import open_source
from sorbus.schema import AvroType
from tests.producers.shop import Record, Shop

MakeShop = Callable[..., Shop]
TEXT: AvroType = ["null", "string"]
ITEM: list[AvroType] = [{"name": "id", "type": "long"}, {"name": "name", "type": TEXT}]
ITEMS = "create table items (id int primary key, name text);"


def item(id: int, name: str | None) -> Record:
    return {"id": id, "name": name}


def items_shop(make_shop: MakeShop, script: str = "", **options: bool) -> Shop:
    shop = make_shop(ITEMS + script, **options)
    shop.describe({"item": (ITEM, {"table": "items"})})
    shop.apply()
    return shop


def test_the_initial_snapshot_and_the_stream_meet_without_a_gap_while_a_writer_runs(make_shop: MakeShop) -> None:
    shop = items_shop(make_shop, "insert into items select n, 'first ' || n from generate_series(1, 12000) n")
    tape = shop.tape("item")
    done = threading.Event()

    def write() -> None:
        with psycopg.connect(shop.dsn, autocommit=True) as connection:
            for n in range(20_000):
                if done.is_set() and n > 300:
                    return
                connection.execute("insert into items values (%s, %s)", (100_000 + n, f"new {n}"))
                connection.execute("update items set name = name || '!' where id = %s", (n % 12_000 + 1,))
                connection.execute("delete from items where id = %s", (12_000 - n,))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with shop.producing():
            tape.wait(lambda: len(tape.events) > 12_000, "the initial snapshot and some of the stream")
            done.set()
            writer.join(30)
            tape.wait_for({str(id): item(int(str(id)), str(name)) for id, name in shop.rows("select * from items")})
    finally:
        done.set()
        writer.join(30)
    assert sorted(tape.tombstones) == sorted({event.id for event in tape.events if event.record is None})


def test_inserts_updates_key_changes_and_deletes_follow_with_the_registrys_schema(make_shop: MakeShop) -> None:
    shop = items_shop(make_shop, "insert into items values (1, 'one')", registry=True)
    tape = shop.tape("item")
    with shop.producing():
        tape.wait_for({"1": item(1, "one")})
        shop.execute(
            "insert into items values (2, 'two'), (3, null)",
            "update items set name = 'uno' where id = 1",
            "update items set id = 20 where id = 2",
            "delete from items where id = 3",
        )
        tape.wait_for({"1": item(1, "uno"), "20": item(20, "two")})
        tape.wait(lambda: sorted(tape.tombstones) == ["2", "3"], lambda: f"tombstones of 2 and 3: {tape.tombstones}")
    assert [event.record for event in tape.events_of("2")] == [item(2, "two"), None]
    assert [event.is_historical for event in tape.events_of("1")] == [True, False]
    assert not any(event.is_historical for event in tape.events_of("2"))


def test_a_restart_goes_on_where_it_was(make_shop: MakeShop) -> None:
    shop = items_shop(make_shop, "insert into items values (1, 'one')")
    tape = shop.tape("item")
    with shop.producing():
        tape.wait_for({"1": item(1, "one")})
    shop.execute("update items set name = 'uno'", "insert into items values (2, 'two')")
    with shop.producing():
        tape.wait_for({"1": item(1, "uno"), "2": item(2, "two")})
    assert len(tape.events) == 3


def test_truncate_deletes_every_record_and_what_comes_after_stays(make_shop: MakeShop) -> None:
    shop = items_shop(make_shop, "insert into items select n, 'x' from generate_series(1, 50) n")
    tape = shop.tape("item")
    with shop.producing():
        tape.wait(lambda: len(tape.live()) == 50, "the initial snapshot")
        shop.execute(
            "begin; insert into items values (99, 'y'); truncate items; insert into items values (7, 'z'); commit"
        )
        tape.wait_for({"7": item(7, "z")})
        tape.wait(lambda: len(tape.tombstones) == 51, lambda: f"51 tombstones, not {len(tape.tombstones)}")


def test_composite_keys_are_joined_and_escaped(make_shop: MakeShop) -> None:
    shop = make_shop(
        "create table prices (shop varchar(12), sku text, at timestamptz, net numeric(10,2),"
        " primary key (shop, sku, at));"
        "insert into prices values ('a|b', '100%', '2026-01-01 12:00+02', 1.50)"
    )
    money: AvroType = {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2}
    shop.describe({"price": ([{"name": "sku", "type": "string"}, {"name": "net", "type": money}], {"table": "prices"})})
    shop.apply()
    tape = shop.tape("price")
    with shop.producing():
        tape.wait(lambda: "a%7Cb|100%25|2026-01-01 10:00:00+00" in tape.live(), lambda: f"it: {tape.live()}")
        shop.execute("update prices set sku = 'new'")
        tape.wait(lambda: list(tape.live()) == ["a%7Cb|new|2026-01-01 10:00:00+00"], lambda: f"it: {tape.live()}")
        shop.execute("delete from prices")
        tape.wait(lambda: not tape.live(), lambda: f"nothing: {tape.live()}")


LARGE = "repeat(md5('{}'), 400)"
BIG: list[AvroType] = [*ITEM, {"name": "big", "type": TEXT}]


def big_shop(make_shop: MakeShop, identity: str) -> Shop:
    shop = make_shop(
        "create table items (id int primary key, name text, big text);"
        "alter table items alter big set storage external;"
        f"alter table items replica identity {identity};"
        f"insert into items values (1, 'one', {LARGE.format('a')})"
    )
    shop.describe({"item": (BIG, {"table": "items"})})
    shop.apply()
    return shop


def test_an_unchanged_large_value_is_there_all_the_same(make_shop: MakeShop) -> None:
    shop = big_shop(make_shop, "default")
    _unchanged_stays(shop)


def test_an_unchanged_large_value_is_there_with_full_identity(make_shop: MakeShop) -> None:
    shop = big_shop(make_shop, "full")
    _unchanged_stays(shop)


def _unchanged_stays(shop: Shop) -> None:
    tape = shop.tape("item")
    with shop.producing():
        tape.wait(lambda: len(tape.live()) == 1, "the initial snapshot")
        shop.execute("update items set name = 'uno'", "update items set id = 2")
        ((_, name, big),) = shop.rows("select id, name, big from items")
        tape.wait_for({"2": {"id": 2, "name": name, "big": big}})


def test_a_key_that_is_large_itself_is_followed(make_shop: MakeShop) -> None:
    shop = make_shop(
        "create table notes (id text primary key, name text); alter table notes alter id set storage external;"
        "insert into notes values (repeat('k', 2500), 'one')"
    )
    shop.describe({"note": ([{"name": "name", "type": TEXT}], {"table": "notes"})})
    shop.apply()
    tape = shop.tape("note")
    with shop.producing():
        tape.wait_for({"k" * 2500: {"name": "one"}})
        shop.execute("update notes set name = 'two'")
        tape.wait_for({"k" * 2500: {"name": "two"}})
        shop.execute("delete from notes")
        tape.wait_for({})


def test_columns_come_go_and_change_their_names_while_it_runs(
    make_shop: MakeShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_source, "_LOOK_EVERY", 3600.0)  # what the stream tells, not what a new snapshot shows
    shop = make_shop("create table items (id int primary key, name text); insert into items values (1, 'one')")
    shop.describe({"item": (BIG, {"table": "items"})})
    shop.apply()
    tape = shop.tape("item")
    with shop.producing():
        tape.wait_for({"1": {"id": 1, "name": "one", "big": None}})
        shop.execute("alter table items add other int default 5", "update items set name = 'uno'")
        tape.wait_for({"1": {"id": 1, "name": "uno", "big": None}})
        shop.execute("alter table items add big text", "update items set big = 'b'")
        tape.wait_for({"1": {"id": 1, "name": "uno", "big": "b"}})
        shop.execute("alter table items rename name to title", "insert into items values (2, 'two', 1, 'b')")
        tape.wait_for({"1": {"id": 1, "name": "uno", "big": "b"}, "2": {"id": 2, "name": None, "big": "b"}})
        shop.execute("alter table items drop big", "insert into items values (3, 'three', 1)")
        tape.wait(lambda: tape.live().get("3") == {"id": 3, "name": None, "big": None}, lambda: f"3: {tape.live()}")


def test_a_table_the_map_names_and_the_database_lacks_is_told(make_shop: MakeShop) -> None:
    shop = items_shop(make_shop)
    shop.describe({"item": (ITEM, {"table": "itmes"})})
    error = shop.start().ended()
    assert isinstance(error, MapError)
    assert "public.itmes" in str(error)
