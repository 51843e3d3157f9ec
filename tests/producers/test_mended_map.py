"""A map that makes something else of the same rows: every record is published again, and none that stays as it was."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import psycopg
import pytest

from sorbus.bus.kafka import idempotent_producer
from sorbus.bus.requests import backfill_message
from sorbus.bus.sending import send
from sorbus.schema import AvroType
from tests.producers.shop import Record, Shop

MakeShop = Callable[..., Shop]
ITEM: list[AvroType] = [
    {"name": "name", "type": "string"},
    {"name": "colour", "type": ["null", "string"], "default": None},
]
TABLES = (
    "create table items (id int primary key, name text not null, colour text, size text);"
    "insert into items select n, 'item ' || n, 'red', 'xl' from generate_series(1, 20) n;"
    "create table things (id int primary key, name text, colour text); insert into things values (1, 'thing')"
)
ROWS = [("items.name", "item.name", ""), ("items.colour", "item.colour", "")]


def describe(shop: Shop, rows: Sequence[tuple[str, str, str]], fields: Sequence[AvroType] = ITEM) -> None:
    shop.describe({"item": (fields, {"table": "items"}), "thing": (ITEM, {"table": "things"})}, sheet=rows)


def item(n: int, name: str, colour: str | None = "red") -> Record:
    return {"name": name, "colour": colour}


def test_a_new_rule_is_applied_to_every_record_at_the_next_start_and_to_no_other_data_type(make_shop: MakeShop) -> None:
    shop = make_shop(TABLES)
    describe(shop, ROWS)
    shop.apply()
    items, things = shop.tape("item"), shop.tape("thing")
    with shop.producing():
        items.wait_for({str(n): item(n, f"item {n}") for n in range(1, 21)})
        things.wait(lambda: len(things.events) == 1, "the thing")
    shop.execute("delete from items where id = 20")
    describe(shop, [("items.name", "item.name", "value | upper"), ("items.size", "item.colour", "")])
    with shop.producing():
        items.wait_for({str(n): item(n, f"ITEM {n}", "xl") for n in range(1, 20)})
        shop.execute("update things set colour = 'blue'")
        things.wait(lambda: len(things.events) == 2, "the thing's change")
    assert len(items.events) in (20 + 19 + 1, 20 + 19 + 2), "deleted by the sweep, and by the stream if that was first"


@pytest.mark.slow
def test_a_killed_new_copy_for_a_new_rule_is_finished_with_it(make_shop: MakeShop) -> None:
    shop = make_shop(TABLES + "; insert into items select n, 'item ' || n, 'red', '' from generate_series(21, 30000) n")
    describe(shop, ROWS)
    shop.apply()
    items = shop.tape("item")
    with shop.producing():
        items.wait(lambda: len(items.live()) == 30_000, lambda: len(items.live()), 90)
    describe(shop, [ROWS[0], ("items.colour", "item.colour", "value | upper")])
    with shop.process() as process:
        items.wait(lambda: len(items.events) > 30_000, lambda: shop.log.read_text()[-2000:], 60)
        assert process.poll() is None
    describe(shop, [ROWS[0], ("items.colour", "item.colour", "value | title")])
    with shop.producing():
        items.wait(
            lambda: {str(one["colour"]) for one in items.live().values()} == {"Red"}, "all as the last rule says", 90
        )


def test_a_map_that_only_looks_otherwise_publishes_nothing_again(make_shop: MakeShop) -> None:
    shop = make_shop(TABLES, registry=True)
    describe(shop, ROWS)
    shop.apply()
    items = shop.tape("item")
    with shop.producing():
        items.wait(lambda: len(items.events) == 20, "the initial snapshot")
    shop.execute("alter table items add column nickname text")
    describe(shop, [*reversed(ROWS)], [*ITEM, {"name": "weight", "type": ["null", "string"], "default": None}])
    shop.apply()
    with shop.producing():
        shop.execute("update items set name = 'one' where id = 1")
        items.wait(lambda: items.live().get("1") == {"name": "one", "colour": "red", "weight": None}, items.live)
    assert len(items.events) == 21


def test_a_data_type_that_was_taken_out_for_a_while_is_read_again(make_shop: MakeShop) -> None:
    shop = make_shop(TABLES)
    describe(shop, ROWS)
    shop.apply()
    items, things = shop.tape("item"), shop.tape("thing")
    with shop.producing():
        items.wait_for({str(n): item(n, f"item {n}") for n in range(1, 21)})
        things.wait(lambda: len(things.events) == 1, "the thing")
    shop.describe({"thing": (ITEM, {"table": "things"})})
    shop.execute("delete from items where id = 20")
    with shop.producing():
        for count in range(2, 4):  # the position moves past the change of the items
            shop.execute(f"update things set colour = 'blue {count}'")
            things.wait(lambda count=count: len(things.events) == count, "the thing's change")  # type: ignore[misc]
    describe(shop, ROWS)
    with shop.producing():
        items.wait_for({str(n): item(n, f"item {n}") for n in range(1, 20)})


def test_a_data_type_that_leaves_before_its_first_snapshot_comes_back_without_what_is_gone(make_shop: MakeShop) -> None:
    """The stream had told of a record, whose delete nobody read."""
    shop = make_shop(TABLES)
    thing = {"thing": (ITEM, {"table": "things"})}
    both = thing | {"item": (ITEM, {"table": "items"})}
    shop.describe(thing)
    shop.apply()
    with shop.producing():
        shop.tape("thing").wait_for({"1": {"name": "thing", "colour": None}})
    shop.describe(both)
    shop.apply()
    items = shop.tape("item")
    with psycopg.connect(shop.dsn) as other, shop.producing():
        other.execute("insert into things values (2, 'no snapshot begins before this has ended', null)")
        shop.execute("insert into items values (90, 'told by the stream', 'red')")
        items.wait(lambda: set(items.live()) == {"90"}, lambda: items.live())
        other.rollback()
    shop.describe(thing)
    shop.apply()
    with shop.producing():
        shop.execute("delete from items where id = 90", "update things set colour = 'blue'")
        shop.tape("thing").wait_for({"1": {"name": "thing", "colour": "blue"}})
    shop.describe(both)
    shop.apply()
    with shop.producing():
        items.wait_for({str(n): item(n, f"item {n}") for n in range(1, 21)})


def test_a_data_type_that_leaves_while_its_snapshot_is_due_stops_nothing(make_shop: MakeShop) -> None:
    """Also when the slot is lost meanwhile, which makes snapshots of all data types due."""
    shop = make_shop(TABLES)
    lost = {"on_lost_slot": "resnapshot"}
    thing = {"thing": (ITEM, {"table": "things"})}
    both = thing | {"item": (ITEM, {"table": "items"})}
    shop.describe(both, lost)
    shop.apply()
    things, items = shop.tape("thing"), shop.tape("item")
    with shop.producing():
        items.wait(lambda: len(items.live()) == 20, lambda: items.live())
    for number, is_slot_lost in enumerate((False, True)):
        name = f"waits for {number}"
        with psycopg.connect(shop.dsn) as other, shop.producing():
            other.execute("insert into items values (30, 'no snapshot begins before this has ended')")
            send(
                idempotent_producer(shop.settings, "test"), [backfill_message(shop.names, "shop", "item", "start")], ""
            )
            shop.execute(f"update things set name = '{name}'")
            things.wait_for({"1": {"name": name, "colour": None}})
            other.rollback()
        shop.describe(thing, lost)
        shop.apply()
        if is_slot_lost:
            shop.drop_slot()
        with shop.producing():
            shop.execute(f"update things set name = '{name}, and is told'")
            things.wait_for({"1": {"name": f"{name}, and is told", "colour": None}})
            shop.execute("delete from items where id = 20", "insert into items values (20, 'new', 'red')")
        shop.describe(both, lost)
        shop.apply()
        with shop.producing():
            items.wait_for({**{str(n): item(n, f"item {n}") for n in range(1, 20)}, "20": item(20, "new")})
