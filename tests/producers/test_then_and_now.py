"""What the catalog says now, of changes from when it said otherwise: between two looks, or while nobody looked.

The oracle is the table itself, read by SQL.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest

from sorbus.producers.postgres import open_source
from sorbus.schema import AvroType
from tests.producers.shop import Record, Shop, Tape
from tests.producers.test_untold import held, looks

__all__ = ["looks"]
MakeShop = Callable[..., Shop]
THING: list[AvroType] = [{"name": "v", "type": ["null", "string"]}]
PARTS = """
create table items (id text, day int, code int not null, v text, primary key (id, day)) partition by list (day);
create table items_1 partition of items for values in (1);
create table items_2 partition of items for values in (2);
create unique index items_code on items_1 (code);
insert into items values ('1', 1, 1, 'a'), ('2', 1, 2, 'b'), ('3', 2, 3, 'c');
"""
UNIQUE_LATER = """
create table items (n int primary key, id text not null, v text);
alter table items replica identity full;
"""


class Case(NamedTuple):
    """Tables, and what is done to them while nobody looks."""

    tables: str
    statements: tuple[str, ...]


CASES = {
    "a key that becomes unique after one of two rows went": Case(
        UNIQUE_LATER + "insert into items values (1, '1', 'a'), (2, '1', 'b'), (3, '3', 'c')",
        ("delete from items where n = 1", "create unique index on items (id)"),
    ),
    "a key that was not unique for a while": Case(
        UNIQUE_LATER + "create unique index items_id on items (id); insert into items values (1, '1', 'a')",
        (
            "drop index items_id",
            "insert into items values (2, '1', 'b')",
            "delete from items where n = 1",
            "create unique index items_id on items (id)",
        ),
    ),
    "the identity of a partition changes and comes back": Case(
        PARTS,
        (
            "alter table items_1 replica identity using index items_code",
            "update items set id = '9' where id = '1'",
            "alter table items_1 replica identity default",
        ),
    ),
    "an attribute of a composite type dropped": Case(
        "create type pair as (a text, b text); create table items (id int primary key, v pair);"
        " insert into items values (1, '(x,y)'), (2, '(z,w)')",
        ("alter type pair drop attribute b",),
    ),
    "an attribute of a composite type added, within another type": Case(
        "create type pair as (a text, b text); create type pairs as (p pair[], b text);"
        " create table items (id int primary key, v pairs);"
        " insert into items values (1, row(array[row('a', 'b')::pair], 'y')::pairs)",
        ("alter type pair add attribute c text",),
    ),
}


def rows(shop: Shop) -> dict[str, Record]:
    return {str(id): {"v": v} for id, v in shop.rows("select id, v::text from items")}


def settled(shop: Shop, tape: Tape) -> None:
    def is_equal() -> bool:
        return not tape.read(0.5) and tape.live() == rows(shop)

    tape.wait(is_equal, lambda: f"is {tape.live()}, should be {rows(shop)}: {tape.events[-12:]}", 20)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_what_was_otherwise_while_the_producer_was_stopped(make_shop: MakeShop, case: Case) -> None:
    shop = make_shop(case.tables + "; create table things (id int primary key, v text)")
    shop.describe({"item": (THING, {"table": "items", "key": ["id"]}), "thing": (THING, {"table": "things"})})
    shop.apply()
    tape, things = shop.tape("item"), shop.tape("thing")
    with shop.producing():
        tape.wait(lambda: not tape.read() and tape.live().keys() == rows(shop).keys(), "the first snapshot")
    shop.execute(*case.statements, "insert into things values (1, 'last')")
    with shop.producing():
        things.wait(lambda: not things.read() and len(things.live()) == 1, "the last change")
        settled(shop, tape)


@pytest.mark.parametrize(
    "comes", ["drop index items_id", "create table heir (primary key (id)) inherits (items)"], ids=["index", "heir"]
)
def test_a_key_that_two_rows_have_while_the_producer_runs(make_shop: MakeShop, looks: list[None], comes: str) -> None:
    shop = make_shop(
        "create table items (id text, n int, v text, primary key (n)); create unique index items_id on items (id);"
        " alter table items replica identity full; insert into items values ('1', 1, 'a'), ('3', 3, 'c')"
    )
    is_heir = "heir" in comes
    if is_heir:
        shop.execute("alter table items drop constraint items_pkey", "alter table items add primary key (id)")
    shop.describe({"item": (THING, {"table": "items", "key": ["id"]})})
    shop.apply()
    tape = shop.tape("item")
    with shop.producing():
        settled(shop, tape)
        publish = f"alter publication {shop.slot} add table heir" if is_heir else "select 1"
        shop.execute(f"begin; {comes}; {publish}; commit")
        seen = len(looks)
        tape.wait(lambda: len(looks) >= seen + 2 and not tape.read(), "two looks")
        shop.execute(f"insert into {'heir' if is_heir else 'items'} values ('1', 2, 'a')")
        shop.execute("delete from items where n = 2", "update items set v = 'last' where id = '3'")
        settled(shop, tape)


def test_changes_of_a_table_from_before_it_was_a_partition(
    make_shop: MakeShop, looks: list[None], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = make_shop(
        """create table items (id int primary key, v text) partition by range (id);
        create table items_1 partition of items for values from (1) to (100);
        create table own (id int primary key, v text);
        insert into items values (1, 'a'), (2, 'b'), (3, 'c');
        insert into own values (1, 'own')"""
    )
    shop.describe({"item": (THING, {"table": "items"})})
    shop.apply()
    shop.execute(f"alter publication {shop.slot} add table own")
    tape = shop.tape("item")
    with shop.producing():
        settled(shop, tape)
        with held(monkeypatch):
            shop.execute("delete from own where id = 1")
            shop.execute("alter table items attach partition own for values from (1000) to (2000)")
            seen = len(looks)
            tape.wait(lambda: len(looks) >= seen + 2 and not tape.read(), "two looks")
        shop.execute("update items set v = 'last' where id = '3'")
        settled(shop, tape)


def test_a_record_that_is_gone_untold_before_its_data_type_was_first_looked_at(
    make_shop: MakeShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stream has told of it: the snapshot, which doesn't find it, has to delete it."""
    monkeypatch.setattr(open_source, "_LOOK_EVERY", 0.2)
    shop = make_shop("create table plains (id text primary key, v text); insert into plains values ('1', 'a');" + PARTS)
    plain = {"plain": (THING, {"table": "plains"})}
    shop.describe(plain)
    shop.apply()
    plains = shop.tape("plain")
    with shop.producing():
        plains.wait(lambda: not plains.read() and len(plains.live()) == 1, "plain")
    shop.describe({**plain, "item": (THING, {"table": "items", "key": ["id"]})})
    shop.apply()
    shop.execute("update items set v = v || '!'", "truncate items_1")
    items = shop.tape("item")
    with shop.producing():
        settled(shop, items)


def test_rows_that_share_a_key_are_one_event_of_the_first_snapshot(make_shop: MakeShop) -> None:
    """The tape fails where a version of a record comes twice."""
    shop = make_shop(UNIQUE_LATER + "insert into items select n, n / 3, n from generate_series(1, 30) n")
    shop.describe({"item": (THING, {"table": "items", "key": ["id"]})})
    shop.apply()
    tape = shop.tape("item")
    with shop.producing():
        tape.wait(lambda: not tape.read(0.5) and tape.live().keys() == rows(shop).keys(), "the records")
