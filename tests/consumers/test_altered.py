"""A target's table that its owner alters while a flow runs: nothing is rounded or cut by what the flow doesn't know."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import psycopg
import pytest

from sorbus.abilities import Erased
from sorbus.connector import Delivery
from sorbus.consumers.postgres.consumer import PostgresConsumer
from sorbus.errors import TransientError
from tests.consumers.gadgets import Writer, flow_into, gadget, make_tables, opened

PLAIN = "id text primary key, name text, note text, price numeric, made_on date"
NARROWER = {
    "numeric": "alter table gadgets alter price type numeric(10, 0)",
    "varchar": "alter table gadgets alter note type varchar(3)",
    "another table": f"alter table gadgets rename to before; create table gadgets ({PLAIN});"
    " alter table gadgets alter price type numeric(10, 0)",
}


@pytest.mark.parametrize("how", NARROWER)
@pytest.mark.parametrize("count", [1, 20_000])
@pytest.mark.parametrize("existing", [True, False])
def test_what_a_narrower_column_would_round_or_cut_is_refused(
    make_database: Callable[[], str], how: str, count: int, existing: bool
) -> None:
    dsn, writer = make_database(), Writer()
    with psycopg.connect(dsn, autocommit=True) as owner:
        if existing:
            owner.execute(f"create table gadgets ({PLAIN})".encode())
        flow = flow_into(dsn, existing=existing)
        make_tables(flow)
        consumer = opened(flow)
        assert consumer.apply([writer.delivery("1", 1, gadget("a", price=Decimal("1.25"), note="abc"))]) == []
        owner.execute(NARROWER[how].replace(PLAIN, PLAIN if existing else f"{PLAIN}, sorbus_version bigint").encode())
        value = {"note": "abc  "} if how == "varchar" else {"price": Decimal("1.50")}
        batch = [writer.delivery(f"n{n}", 2, gadget("n")) for n in range(count)]
        batch.append(writer.delivery("2", 2, gadget("b", **value)))
        with pytest.raises(TransientError, match="another now"):
            consumer.apply(batch)
        assert owner.execute("select count(*) from gadgets where id <> '1'").fetchall() == [(0,)]
        consumer.open()
        (refusal,) = consumer.apply(batch)
        assert refusal.place == count
        assert owner.execute("select count(*) from gadgets where id <> '1'").fetchall() == [(count,)]
        owner.execute("alter table gadgets add column more int, alter column name type varchar(300)")
        with pytest.raises(TransientError, match="another now"):
            consumer.apply([writer.delivery("3", 3, gadget("c"))])
        consumer.open()
        owner.execute("alter table gadgets drop column more")
        assert consumer.apply([writer.delivery("3", 3, gadget("c"))]) == []
        consumer.close()


BESIDE = {
    "another column": "alter table gadgets rename id to ids; alter table sorbus_applied rename version to v",
    "no table": "alter table gadgets rename to before",
}
"""What its owner does to the table."""
ASKED: dict[str, Callable[[PostgresConsumer, list[Delivery]], object]] = {
    "open": lambda consumer, _: consumer.open(),
    "versions": lambda consumer, asked: consumer.versions(asked),
    "newer": lambda consumer, asked: consumer.newer(asked),
    "look": lambda consumer, _: consumer.look("1"),
    "erase": lambda consumer, _: consumer.erase("1"),
}


@pytest.mark.parametrize("how", BESIDE)
@pytest.mark.parametrize("asked", ASKED)
def test_what_is_wrong_beside_the_records_is_waited_for(make_database: Callable[[], str], how: str, asked: str) -> None:
    dsn, writer = make_database(), Writer()
    flow = flow_into(dsn)
    make_tables(flow)
    consumer = opened(flow)
    deliveries = [writer.delivery("1", 1, gadget("a"))]
    assert consumer.apply(deliveries) == []
    consumer.apply(deliveries)  # it changes nothing: `newer` asks then
    with psycopg.connect(dsn, autocommit=True) as owner:
        owner.execute(BESIDE[how].encode())
    with pytest.raises(TransientError):
        ASKED[asked](consumer, deliveries)
    consumer.close()


@pytest.mark.parametrize("deletes", ["hard", "soft"])
@pytest.mark.parametrize("id", ["abc", "99999999999999999999"])
def test_ids_that_the_key_cannot_hold_have_no_row(make_database: Callable[[], str], id: str, deletes: str) -> None:
    dsn = make_database()
    with psycopg.connect(dsn, autocommit=True) as owner:
        owner.execute(
            f"create table gadgets ({PLAIN}, sorbus_deleted_at timestamptz)".replace("id text", "id int").encode()
        )
    flow = flow_into(dsn, existing=True, deletes=deletes)
    make_tables(flow)
    consumer = opened(flow)
    assert consumer.look(id) is None
    assert consumer.erase(id) == Erased(0)
    consumer.close()
