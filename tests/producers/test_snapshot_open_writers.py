"""What an open transaction wrote to a table before the publication held it isn't streamed: a snapshot waits for it."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from tests.producers.shop import Shop
from tests.producers.test_incremental_snapshot import TABLES, _alone, _both

MakeShop = Callable[..., Shop]


@pytest.mark.parametrize("change", ["insert into items values (9, 'late', 1)", "update items set id = 50 where id = 1"])
def test_a_transaction_that_wrote_before_the_table_was_published_is_not_lost(make_shop: MakeShop, change: str) -> None:
    shop = make_shop(TABLES.format(rows=4))
    _alone(shop)
    shop.apply()
    things = shop.tape("thing")
    with shop.producing():
        things.wait_for({"1": {"name": "thing", "size": 0}})
    with psycopg.connect(shop.dsn) as writer:
        writer.execute(change)
        _both(shop)
        shop.apply()
        items = shop.tape("item")
        with shop.producing():
            shop.execute("update things set size = 7")  # the stream goes on meanwhile
            things.wait_for({"1": {"name": "thing", "size": 7}})
            things.wait(lambda: things.read(1.0) == 0 and items.read(1.0) == 0, "quiet")
            writer.commit()
            rows = shop.rows("select id, name, size from items")
            items.wait_for({str(id): {"name": name, "size": size} for id, name, size in rows}, 12)
