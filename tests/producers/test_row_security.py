"""Row security: a role that policies hide rows from captures nothing, rather than less; nothing counts as deleted."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from sorbus.errors import AuthError
from sorbus.postgres.connection import PostgresConnection
from sorbus.postgres.sample import sample_rows
from sorbus.schema import AvroType
from tests.producers.shop import Shop

LINE: AvroType = {"type": "record", "name": "line", "fields": [{"name": "sku", "type": ["null", "string"]}]}
ITEM: list[AvroType] = [{"name": "id", "type": "long"}, {"name": "name", "type": ["null", "string"]}]
ORDER: list[AvroType] = [*ITEM, {"name": "lines", "type": {"type": "array", "items": LINE}}]
TABLES = """
create table items (id int primary key, tenant text default 'b', name text);
alter table items alter name set storage external;
create table orders (id int primary key, name text);
create table lines (order_id int, no int, tenant text default 'b', sku text, primary key (order_id, no));
insert into items values (1, 'a', 'one'), (2, 'b', repeat('x', 9000));
insert into orders values (1, 'one'); insert into lines values (1, 1, 'a', 'pen'), (1, 2, 'b', 'ink');
"""
HIDDEN = {
    "the record's table": "alter table items enable row level security;"
    "create policy p on items for select using (tenant = 'a')",
    "a list's table": "alter table lines enable row level security; create policy p on lines using (tenant = 'a')",
    "a table without any policy": "alter table orders enable row level security",
    "a column": "revoke select on items from {role}; grant select (id, tenant) on items to {role}",
    "an owner whom it is forced on": "alter table items enable row level security, force row level security;"
    "alter table items owner to {role}",
}


@pytest.fixture
def shop(make_shop: Callable[..., Shop], unique: str) -> Iterator[Shop]:
    """A shop that is read by a role of its own."""
    made = make_shop(TABLES)
    made.execute(
        f"create role {unique} login replication password 'x'",
        f"grant usage on schema public to {unique}; grant select on all tables in schema public to {unique}",
    )
    children = {"lines": {"table": "lines", "parent": ["order_id"]}}
    types = {"item": (ITEM, {"table": "items"}), "order": (ORDER, {"table": "orders", "children": children})}
    made.describe(types)
    made.apply()
    made.describe(types, dsn=make_conninfo(made.dsn, user=unique, password="x"))
    yield made
    made.close()
    made.execute(f"drop owned by {unique} cascade", f"drop role {unique}")


@pytest.mark.parametrize("what", HIDDEN)
def test_plan_says_what_the_role_lacks_and_the_producer_is_refused(shop: Shop, unique: str, what: str) -> None:
    shop.execute(HIDDEN[what].format(role=unique))
    loaded = shop.loaded()
    steps = loaded.producer("shop").plan(loaded.system("shop", "producer"), loaded.sources("shop"))
    told = [step for step in steps if step.apply is None]
    assert len(told) == 1, told
    assert unique in told[0].what
    assert "bypassrls" in told[0].detail or "grant select (name) on public.items" in told[0].detail
    error = shop.start().ended()
    assert isinstance(error, AuthError)
    assert unique in str(error)


@pytest.mark.parametrize("what", ["the record's table", "a list's table"])
def test_a_policy_that_comes_while_it_runs_deletes_nothing(shop: Shop, unique: str, what: str) -> None:
    items, orders = shop.tape("item"), shop.tape("order")
    running = shop.start()
    items.wait(lambda: len(items.live()) == 2, "the initial snapshot")
    orders.wait(lambda: len(orders.live()) == 1, "the initial snapshot")
    shop.execute(HIDDEN[what].format(role=unique))
    # What the stream doesn't carry is read by key, by a role that doesn't see it any more.
    shop.execute("update items set tenant = 'c' where id = 2", "update lines set sku = 'changed'")
    assert isinstance(running.ended(), AuthError)
    assert not items.read(2.0) or items.live()
    assert set(items.live()) == {"1", "2"}
    assert set(orders.live()) == {"1"}
    shop.execute(f"alter role {unique} bypassrls")
    with shop.producing():
        orders.wait(
            lambda: orders.live()["1"]["lines"] == [{"sku": "changed"}] * 2, lambda: f"both lines: {orders.live()}"
        )
        assert set(items.live()) == {"1", "2"}


def test_samples_are_of_all_rows_or_refused(shop: Shop, unique: str) -> None:
    shop.execute(HIDDEN["the record's table"])
    connection = PostgresConnection.model_validate({"dsn": make_conninfo(shop.dsn, user=unique, password="x")})
    with pytest.raises(AuthError, match="row-level security"):
        sample_rows(connection, "public.items", 5)
    with psycopg.connect(shop.dsn) as owner:
        assert owner.execute("select count(*) from items").fetchone() == (2,)
