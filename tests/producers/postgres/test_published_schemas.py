"""A publication of a whole schema: tables that leave the schema and come back before anybody looks."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sorbus.producers.postgres import open_source
from sorbus.producers.postgres.publication import lapse
from sorbus.schema import AvroType
from tests.producers.postgres.live import Live
from tests.producers.shop import Record, Shop

TEXT: list[AvroType] = [{"name": "v", "type": ["null", "string"]}]
TABLES = """
create table items (id int primary key, v text);
insert into items select n, 'a' from generate_series(1, 3) n;
create table parts (id int primary key, v text) partition by range (id);
create table parts_1 partition of parts for values from (0) to (100);
insert into parts values (1, 'a'), (2, 'a');
create schema away
"""
CHANGES = """
update away.{0} set v = 'away' where id = 1;
delete from away.{0} where id = 2;
insert into away.{0} values (9, 'n')
"""


def rows(shop: Shop, table: str) -> dict[str, Record]:
    return {str(id): {"v": v} for id, v in shop.rows(f"select id, v from {table}")}


@pytest.mark.parametrize("is_running", [True, False], ids=["running", "stopped"])
@pytest.mark.parametrize("table", ["items", "parts"])
def test_a_table_that_was_in_another_schema_is_copied_again(
    make_shop: Callable[[str], Shop], monkeypatch: pytest.MonkeyPatch, table: str, *, is_running: bool
) -> None:
    shop = make_shop(TABLES)
    if shop.rows("select current_setting('server_version_num')::int < 150000")[0][0]:
        pytest.skip("no schemas in publications")
    shop.describe({"item": (TEXT, {"table": "items"}), "part": (TEXT, {"table": "parts"})})
    shop.execute(f"create publication {shop.slot} for tables in schema public with (publish_via_partition_root = true)")
    live = Live(shop)

    def is_equal() -> bool:
        return all(live.records(name) == rows(shop, f"{name}s") for name in ("item", "part"))

    live.wait(is_equal, lambda: (live.records("item"), live.records("part")))
    if not is_running:
        live.close()
    shop.execute(
        f"alter table {table} set schema away", CHANGES.format(table), f"alter table away.{table} set schema public"
    )
    monkeypatch.setattr(open_source, "_LOOK_EVERY", 0.1)
    live.wait(is_equal, lambda: (live.records("item"), live.records("part")))
    live.close()


def test_a_position_of_an_earlier_release_says_nothing_of_the_schema() -> None:
    assert lapse({"public.items": "1/2/s3"}, {"public.items": "1/2/s3@4"}) == ("", [])
    assert lapse({"public.items": "1/2/s3"}, {"public.items": "1/2/s5@4"}) == ("", ["public.items"])
    assert lapse({"public.items": "1/2/s3@4"}, {"public.items": "1/2/s3@5"}) == ("", ["public.items"])
