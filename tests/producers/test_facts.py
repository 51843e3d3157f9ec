"""What capture relies on is proven at plan, and watched while it runs: replica identity, the publication's options."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sorbus.producers.postgres import open_source
from sorbus.schema import AvroType
from tests.producers.shop import Shop, Tape
from tests.producers.test_lost_position import until_told

MakeShop = Callable[..., Shop]
NAME: list[AvroType] = [{"name": "name", "type": ["null", "string"]}]
ITEMS = (
    "create table items (id int primary key, code text not null unique, name text);"
    "insert into items select n, 'C' || n, 'item ' || n from generate_series(1, 6) n"
)
PARTS = (
    "create table items (id int, code text, name text, primary key (id)) partition by range (id);"
    "create table items_1 partition of items for values from (0) to (100);"
    "insert into items select n, 'C' || n, 'item ' || n from generate_series(1, 6) n"
)


def is_equal(shop: Shop, tape: Tape) -> Callable[[], bool]:
    def equal() -> bool:
        wanted = {str(code): {"name": name} for code, name in shop.rows("select code, name from items")}
        return not tape.read() and tape.live() == wanted

    return equal


@pytest.mark.parametrize("script", [pytest.param(ITEMS, id="table"), pytest.param(PARTS, id="partition")])
def test_a_replica_identity_taken_back_loses_no_delete(
    make_shop: MakeShop, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    monkeypatch.setattr(open_source, "_LOOK_EVERY", 0.2)
    shop = make_shop(script)
    shop.describe({"item": (NAME, {"table": "items", "key": ["code"]})})
    shop.apply()
    table = "items_1" if "partition" in script else "items"
    tape = shop.tape("item")
    with shop.producing() as running:
        tape.wait(is_equal(shop, tape), tape.live)
        shop.execute(
            f"alter table {table} replica identity default",
            "update items set code = 'X1' where id = 1",
            "delete from items where id = 2",
        )
        assert f"replica identity of public.{table}" in until_told(running, "replica identity")
        shop.apply()
        shop.execute("update items set name = 'still here' where id = 3")
        tape.wait(is_equal(shop, tape), lambda: (tape.live(), shop.rows("select * from items")))


MADE = {
    "without the root's name": "create publication {slot} for table items",
    "of the leaves": "create publication {slot} for table items_1",
    "of all tables": "create publication {slot} for all tables",
}


@pytest.mark.parametrize("made", MADE)
def test_a_publication_that_names_leaves_is_mended_by_apply(make_shop: MakeShop, made: str) -> None:
    shop = make_shop(PARTS)
    shop.describe({"item": (NAME, {"table": "items", "key": ["code"]})})
    shop.execute(MADE[made].format(slot=shop.slot))
    shop.apply()
    tape = shop.tape("item")
    with shop.producing():
        tape.wait(is_equal(shop, tape), tape.live)
        shop.execute("delete from items where id = 2", "insert into items values (50, 'C50', 'new')")
        tape.wait(is_equal(shop, tape), tape.live)
