"""When changes between our position and the source's are gone: told and stopped, or copied again; never skipped."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import psycopg
import pytest

from sorbus.errors import LostPosition
from sorbus.producers.postgres import open_source, source_watch, stream_reader
from sorbus.schema import AvroType
from tests.producers.shop import Record, Running, Shop

MakeShop = Callable[..., Shop]
ITEM: list[AvroType] = [{"name": "id", "type": "long"}, {"name": "name", "type": ["null", "string"]}]
ITEMS = (
    "create table items (id int primary key, name text);insert into items values (1, 'one'), (2, 'two'), (3, 'three')"
)


def item(id: int, name: str) -> Record:
    return {"id": id, "name": name}


def shop_of(make_shop: MakeShop, system: Mapping[str, object]) -> Shop:
    shop = make_shop(ITEMS)
    shop.describe({"item": (ITEM, {"table": "items"})}, system)
    shop.apply()
    tape = shop.tape("item")
    with shop.producing():
        tape.wait(lambda: len(tape.live()) == 3, "the initial snapshot")
    return shop


def test_a_missing_slot_stops_the_producer_with_what_to_do(make_shop: MakeShop) -> None:
    shop = shop_of(make_shop, {})
    shop.drop_slot()
    error = shop.start().ended()
    assert isinstance(error, LostPosition)
    for word in (f"slot {shop.slot} is gone", "on_lost_slot: resnapshot", "doesn't skip"):
        assert word in str(error)
    with shop.process() as process:
        assert process.wait(60) == error.exit_code
    assert "on_lost_slot: resnapshot" in shop.log.read_text()


def test_a_missing_slot_is_followed_by_a_new_copy_where_the_map_says_so(make_shop: MakeShop) -> None:
    shop = shop_of(make_shop, {"on_lost_slot": "resnapshot"})
    shop.drop_slot()
    shop.execute("delete from items where id = 1", "update items set name = 'zwei' where id = 2")
    tape = shop.tape("item")
    with shop.producing():
        tape.wait_for({"2": item(2, "zwei"), "3": item(3, "three")})
        shop.execute("insert into items values (4, 'four')")
        tape.wait_for({"2": item(2, "zwei"), "3": item(3, "three"), "4": item(4, "four")})
    assert tape.tombstones == ["1"]


def test_a_new_copy_does_not_delete_a_record_whose_row_is_there_but_not_canonical(make_shop: MakeShop) -> None:
    shop = make_shop("create table items (id int primary key, name numeric); insert into items values (1, 1), (2, 2)")
    money: AvroType = {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}
    shop.describe({"item": ([{"name": "name", "type": money}], {"table": "items"})}, {"on_lost_slot": "resnapshot"})
    shop.apply()
    tape, letters = shop.tape("item"), shop.dead_letters("item")
    with shop.producing():
        tape.wait(lambda: len(tape.live()) == 2, "the initial snapshot")
    shop.drop_slot()
    shop.execute("update items set name = 'NaN' where id = 1", "update items set name = 3 where id = 2")
    with shop.producing():
        tape.wait(lambda: len(tape.events) == 3, "the new copy")
        shop.execute("insert into items values (4, 4)")
        tape.wait(lambda: "4" in tape.live(), "record 4")
        letters.wait(lambda: len(letters.letters) == 1, lambda: f"the letter of record 1: {letters.letters}")
    assert set(tape.live()) == {"1", "2", "4"}


def test_a_slot_that_somebody_else_moved_on_is_noticed(make_shop: MakeShop) -> None:
    shop = shop_of(make_shop, {})
    # The slot can only be moved to what is on disk.
    shop.execute("set synchronous_commit = on; update items set name = 'lost'")
    shop.execute(f"select pg_replication_slot_advance('{shop.slot}', pg_current_wal_lsn())")
    error = shop.start().ended()
    assert isinstance(error, LostPosition)
    assert "beyond Sorbus's position" in str(error)


def test_a_missing_publication_is_told_with_what_to_do_and_waited_for(make_shop: MakeShop) -> None:
    shop = shop_of(make_shop, {"on_lost_slot": "resnapshot"})
    shop.execute(f"drop publication {shop.slot}", "update items set name = 'zwei' where id = 2")
    tape = shop.tape("item")
    with shop.producing() as running:
        told = until_told(running, "publication")
        assert "is not there" in told
        assert "sorbus apply" in told
        shop.apply()
        shop.execute("update items set name = 'eins' where id = 1")
        tape.wait_for({"1": item(1, "eins"), "2": item(2, "zwei"), "3": item(3, "three")})


def test_a_publication_that_was_gone_while_the_producer_was_not_running_stops_it(make_shop: MakeShop) -> None:
    shop = shop_of(make_shop, {})
    shop.execute(f"drop publication {shop.slot}", "update items set name = 'lost' where id = 1")
    shop.apply()
    error = shop.start().ended()
    assert isinstance(error, LostPosition)
    for word in (f"publication {shop.slot}", "public.items", "on_lost_slot: resnapshot"):
        assert word in str(error)


WITHOUT = {
    "the publication": ("drop publication {slot}", "is not there"),
    "the table": ("alter publication {slot} drop table items", "lacks public.items"),
    "updates": ("alter publication {slot} set (publish = 'insert, delete')", "updates, truncates"),
    "some rows": (
        "alter table items replica identity full; alter publication {slot} set table items where (name = 'three')",
        "its WHERE",
    ),
}


@pytest.mark.parametrize(
    ("statement", "words"),
    [pytest.param(*case, id=id, marks=() if "the" in id else pytest.mark.slow) for id, case in WITHOUT.items()],
)
def test_what_a_publication_leaves_out_while_the_producer_runs_is_noticed_and_copied_again(
    make_shop: MakeShop, monkeypatch: pytest.MonkeyPatch, server_version: int, statement: str, words: str
) -> None:
    if "where" in statement and server_version < 15:
        pytest.skip("PostgreSQL 15 brought row filters")
    monkeypatch.setattr(open_source, "_LOOK_EVERY", 0.2)
    shop = shop_of(make_shop, {"on_lost_slot": "resnapshot"})
    tape = shop.tape("item")
    with shop.producing() as running:
        shop.execute("update items set name = 'eins' where id = 1")
        tape.wait(lambda: tape.live().get("1") == item(1, "eins"), "record 1")
        shop.execute(*statement.format(slot=shop.slot).split("; "), "update items set name = 'zwei' where id = 2")
        assert words in until_told(running, "publication")
        shop.apply()
        shop.execute("update items set name = 'drei' where id = 3")
        tape.wait_for({"1": item(1, "eins"), "2": item(2, "zwei"), "3": item(3, "drei")})
    assert [record.record for record in tape.events_of("2")][-1] == item(2, "zwei")


@pytest.mark.parametrize("meanwhile", ["alter publication {slot} add table items", "drop publication {slot}"])
def test_a_publication_that_changes_while_it_is_looked_at_loses_nothing(
    make_shop: MakeShop, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    """A look has one snapshot of the catalog, but what a publication streams is shown as it is just now."""
    monkeypatch.setattr(open_source, "_LOOK_EVERY", 0.2)
    shop = shop_of(make_shop, {"on_lost_slot": "resnapshot"})
    tape, is_due, is_done = shop.tape("item"), threading.Event(), threading.Event()

    def read_and_change(*arguments: Any) -> object:
        found = read_tables(*arguments)
        if is_due.is_set():
            is_due.clear()
            shop.execute(meanwhile.format(slot=shop.slot))
            is_done.set()
        return found

    read_tables = source_watch.read_tables
    with shop.producing() as running:
        shop.execute("update items set name = 'eins' where id = 1")
        tape.wait(lambda: tape.live().get("1") == item(1, "eins"), "record 1")
        shop.execute(f"alter publication {shop.slot} drop table items", "update items set name = 'zwei' where id = 2")
        monkeypatch.setattr(source_watch, "read_tables", read_and_change)
        is_due.set()
        assert is_done.wait(20), "nobody looked"
        if "drop" in meanwhile:
            until_told(running, "publication")
        shop.apply()
        shop.execute("update items set name = 'drei' where id = 3")
        tape.wait_for({"1": item(1, "eins"), "2": item(2, "zwei"), "3": item(3, "drei")})


def test_a_table_that_left_the_publication_and_came_back_is_copied_again(make_shop: MakeShop) -> None:
    shop = shop_of(make_shop, {"on_lost_slot": "resnapshot"})
    tape = shop.tape("item")
    shop.execute(
        f"alter publication {shop.slot} drop table items",
        "update items set name = 'zwei' where id = 2",
        "delete from items where id = 3",
    )
    shop.apply()
    with shop.producing():
        tape.wait_for({"1": item(1, "one"), "2": item(2, "zwei")})


def test_another_data_type_in_the_publication_copies_nothing_again(make_shop: MakeShop) -> None:
    shop = shop_of(make_shop, {})
    shop.execute("create table things (id int primary key, name text)", "insert into things values (1, 'thing')")
    shop.describe({"item": (ITEM, {"table": "items"}), "thing": (ITEM, {"table": "things"})}, {})
    shop.apply()
    items, things = shop.tape("item"), shop.tape("thing")
    with shop.producing():
        things.wait_for({"1": item(1, "thing")})
        shop.execute("update items set name = 'eins' where id = 1")
        items.wait(lambda: items.live().get("1") == item(1, "eins"), "record 1")
    assert len(items.events) == 4, "three of the initial snapshot and the one that came after"


def until_told(running: Running, word: str) -> str:
    """What the producer says it waits for, once it says `word`."""
    end = time.monotonic() + 40
    while word not in str(running.health.waiting()):
        assert time.monotonic() < end, f"it says nothing of the {word}, but: {running.health.waiting()}"
        assert not running.stop.wait(0.05)
        assert running.thread.is_alive(), running.error
    return str(running.health.waiting())


def test_an_idle_database_does_not_hold_the_log_back(make_shop: MakeShop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_reader, "_IDLE_STORE", 0.5)
    shop = shop_of(make_shop, {"heartbeat": "1s"})
    with shop.producing() as running:
        with psycopg.connect(shop.dsn.rpartition("/")[0] + "/postgres", autocommit=True) as other:
            other.execute("create table if not exists noise (n text)")
            other.execute("insert into noise select repeat('x', 100) from generate_series(1, 20000)")
            ((target,),) = other.execute("select pg_current_wal_lsn()::text").fetchall()
            other.execute("drop table noise")
        moved = f"select confirmed_flush_lsn >= '{target}' from pg_replication_slots where slot_name = '{shop.slot}'"
        tries = 0
        while shop.rows(moved) != [(True,)]:
            tries += 1
            assert tries < 150, f"the slot stays behind {target}"
            assert not running.stop.wait(0.2)
            assert running.thread.is_alive(), running.error
    with shop.producing() as running:  # its own heartbeat is no loss
        while running.health.waiting() is not None:
            assert not running.stop.wait(0.05)
            assert running.thread.is_alive(), running.error
