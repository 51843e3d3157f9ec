"""What the catalog says now, and changes that were made when it said otherwise: the stream is behind, or the producer stopped.

The oracle is the table itself, read by SQL.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sorbus.producers.postgres import open_source
from sorbus.schema import AvroType
from tests.producers.shop import Record, Shop, Tape
from tests.producers.test_untold import held

MakeShop = Callable[..., Shop]
TEXT: AvroType = ["null", "string"]
THING: list[AvroType] = [{"name": "v", "type": TEXT}]


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_source, "_LOOK_EVERY", 0.2)


def rows(shop: Shop, table: str, key: str = "id") -> dict[str, Record]:
    return {str(k): {"v": v} for k, v in shop.rows(f"select {key}, v from {table}")}


def settled(shop: Shop, tape: Tape, table: str) -> None:
    """Until all is on the topic that is there, and nothing more comes."""
    def equal() -> bool:
        return not tape.read(0.5) and tape.live() == rows(shop, table)
    tape.wait(equal, lambda: f"is {tape.live()}, should be {rows(shop, table)}: {tape.events[-12:]}", 15)


def test_a_data_type_joins_and_a_record_is_gone_untold_before_the_first_look(make_shop: MakeShop) -> None:
    shop = make_shop(
        """create table plains (id text primary key, v text); insert into plains values ('1', 'a');
        create table parts (id text, day int, v text, primary key (id, day)) partition by list (day);
        create table parts_1 partition of parts for values in (1);
        create table parts_2 partition of parts for values in (2);
        insert into parts values ('1', 1, 'a'), ('2', 2, 'b')"""
    )
    plain = {"plain": (THING, {"table": "plains"})}
    shop.describe(plain)
    shop.apply()
    tape = shop.tape("plain")
    with shop.producing():
        tape.wait(lambda: not tape.read() and len(tape.live()) == 1, "plain")
    shop.describe({**plain, "part": (THING, {"table": "parts", "key": ["id"]})})
    shop.apply()
    shop.execute("update parts set v = v || '!'", "truncate parts_1")
    parts = shop.tape("part")
    with shop.producing():
        settled(shop, parts, "parts")



def test_a_key_that_becomes_unique_after_one_of_two_rows_went(
    make_shop: MakeShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = make_shop(
        """create table items (n int primary key, id text not null, v text); alter table items replica identity full;
        insert into items values (1, '1', 'a'), (3, '3', 'c')"""
    )
    shop.describe({"item": (THING, {"table": "items", "key": ["id"]})})
    shop.apply()
    tape = shop.tape("item")
    with shop.producing():
        tape.wait(lambda: not tape.read() and len(tape.live()) == 2, "items")
        shop.execute("insert into items values (2, '1', 'b')")
        tape.wait(lambda: not tape.read() and tape.live()["1"] == {"v": "b"}, "items")
    shop.execute("delete from items where n = 1", "create unique index on items (id)")
    with shop.producing():
        shop.execute("update items set v = 'last' where id = '3'")
        settled(shop, tape, "items")


def test_a_key_that_is_no_longer_unique_while_the_producer_runs(make_shop: MakeShop) -> None:
    shop = make_shop(
        """create table items (n int primary key, id text not null, v text); alter table items replica identity full;
        create unique index items_id on items (id);
        insert into items values (1, '1', 'a'), (3, '3', 'c')"""
    )
    shop.describe({"item": (THING, {"table": "items", "key": ["id"]})})
    shop.apply()
    tape = shop.tape("item")
    with shop.producing():
        tape.wait(lambda: not tape.read() and len(tape.live()) == 2, "items")
        shop.execute("drop index items_id", "insert into items values (2, '1', 'a')")
        import time; time.sleep(1.5)
        shop.execute("delete from items where n = 1")
        shop.execute("update items set v = 'last' where id = '3'")
        settled(shop, tape, "items")


def test_an_heir_that_came_while_the_producer_runs_shares_a_key(make_shop: MakeShop) -> None:
    shop = make_shop(
        """create table base (id text primary key, v text);
        insert into base values ('1', 'a'), ('3', 'c')"""
    )
    shop.describe({"item": (THING, {"table": "base"})})
    shop.apply()
    tape = shop.tape("item")
    with shop.producing():
        tape.wait(lambda: not tape.read() and len(tape.live()) == 2, "items")
        shop.execute(f"begin; create table heir (primary key (id)) inherits (base); alter publication {shop.slot} add table heir; commit")
        import time; time.sleep(1.5)
        shop.execute("insert into heir values ('1', 'a')", "delete from heir where id = '1'")
        shop.execute("update base set v = 'last' where id = '3'")
        settled(shop, tape, "base")


def test_the_identity_of_a_partition_changes_and_comes_back(make_shop: MakeShop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = make_shop(
        """
        create table parts (id text, day int, code int not null, v text, primary key (id, day)) partition by list (day);
        create table parts_1 partition of parts for values in (1);
        create table parts_2 partition of parts for values in (2);
        create unique index parts_code on parts_1 (code);
        insert into parts values ('1', 1, 1, 'a'), ('2', 1, 2, 'b'), ('3', 2, 3, 'c')"""
    )
    shop.describe({"part": (THING, {"table": "parts", "key": ["id"]})})
    shop.apply()
    tape = shop.tape("part")
    with shop.producing():
        tape.wait(lambda: not tape.read() and len(tape.live()) == 3, "parts")
    shop.execute(
        "alter table parts_1 replica identity using index parts_code",
        "update parts set id = '9' where id = '1'",
        "alter table parts_1 replica identity default",
    )
    with shop.producing():
        shop.execute("update parts set v = 'last' where id = '3'")
        settled(shop, tape, "parts")


def test_a_table_that_was_a_table_of_its_own_becomes_a_partition(
    make_shop: MakeShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = make_shop(
        """
        create table parts (id int primary key, v text) partition by range (id);
        create table parts_1 partition of parts for values from (1) to (100);
        create table own (id int primary key, v text);
        insert into parts values (1, 'a'), (2, 'b'), (3, 'c');
        insert into own values (1, 'own')"""
    )
    shop.describe({"part": (THING, {"table": "parts"})})
    shop.apply()
    shop.execute(f"alter publication {shop.slot} add table own")
    tape = shop.tape("part")
    with shop.producing():
        tape.wait(lambda: not tape.read() and len(tape.live()) == 3, "parts")
        with held(monkeypatch):
            shop.execute("delete from own where id = 1",
                "alter table parts attach partition own for values from (1000) to (2000)")
            import time; time.sleep(1.5)
        shop.execute("update parts set v = 'last' where id = '3'")
        settled(shop, tape, "parts")
