"""Records kept in several tables: an order with its lines is one event, whichever table changed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sorbus.schema import AvroType
from tests.producers.shop import Record, Shop

LINE: AvroType = {
    "type": "record",
    "name": "line",
    "fields": [{"name": "no", "type": "int"}, {"name": "sku", "type": ["null", "string"]}],
}
ORDER: list[AvroType] = [
    {"name": "id", "type": "long"},
    {"name": "name", "type": ["null", "string"]},
    {"name": "lines", "type": {"type": "array", "items": LINE}},
]
TABLES = """
    create table orders (id int primary key, name text);
    create table lines (order_id int, no int, sku text, primary key (order_id, no));
    insert into orders values (1, 'one'), (2, 'two'), (3, null);
    insert into lines values (1, 2, 'b'), (1, 1, 'a'), (2, 1, 'c');
"""


def order(id: int, name: str | None, *skus: tuple[int, str | None]) -> Record:
    return {"id": id, "name": name, "lines": [{"no": no, "sku": sku} for no, sku in skus]}


@pytest.fixture
def orders(make_shop: Callable[..., Shop]) -> Shop:
    shop = make_shop(TABLES)
    source = {"table": "orders", "children": {"lines": {"table": "lines", "parent": ["order_id"]}}}
    shop.describe({"order": (ORDER, source)})
    shop.apply()
    return shop


def test_a_line_that_comes_changes_moves_or_goes_makes_its_orders_anew(orders: Shop) -> None:
    tape = orders.tape("order")
    with orders.producing():
        two, three = order(2, "two", (1, "c")), order(3, None)
        tape.wait_for({"1": order(1, "one", (1, "a"), (2, "b")), "2": two, "3": three})
        orders.execute("insert into lines values (1, 3, 'd')")
        tape.wait_for({"1": order(1, "one", (1, "a"), (2, "b"), (3, "d")), "2": two, "3": three})
        orders.execute("update lines set sku = 'bb' where order_id = 1 and no = 2")
        tape.wait_for({"1": order(1, "one", (1, "a"), (2, "bb"), (3, "d")), "2": two, "3": three})
        orders.execute("update lines set order_id = 3 where order_id = 1 and no = 3")
        tape.wait_for({"1": order(1, "one", (1, "a"), (2, "bb")), "2": two, "3": order(3, None, (3, "d"))})
        orders.execute("delete from lines where order_id = 1")
        tape.wait_for({"1": order(1, "one"), "2": two, "3": order(3, None, (3, "d"))})


def test_an_order_deleted_with_its_lines_is_gone_and_one_that_changes_its_key_moves(orders: Shop) -> None:
    tape = orders.tape("order")
    with orders.producing():
        tape.wait(lambda: len(tape.live()) == 3, "the initial snapshot")
        orders.execute("delete from lines where order_id = 1; delete from orders where id = 1")
        tape.wait(lambda: set(tape.live()) == {"2", "3"}, lambda: f"2 and 3: {tape.live()}")
        orders.execute("update orders set id = 20 where id = 2; update lines set order_id = 20 where order_id = 2")
        tape.wait_for({"20": order(20, "two", (1, "c")), "3": order(3, None)})
    assert set(tape.tombstones) == {"1", "2"}


def test_many_changes_of_one_transaction_make_one_event(orders: Shop) -> None:
    tape = orders.tape("order")
    with orders.producing():
        tape.wait(lambda: len(tape.live()) == 3, "the initial snapshot")
        orders.execute(
            "insert into lines select 3, n, 's' from generate_series(1, 200) n; update orders set name = 'x'"
        )
        tape.wait(lambda: len(tape.events_of("3")) > 1, "order 3 anew")
        tape.wait_for({"1": None, "2": None, "3": order(3, "x", *((n, "s") for n in range(1, 201)))})
    assert len(tape.events_of("3")) == 2


def test_truncating_the_lines_alone_leaves_orders_without_lines(orders: Shop) -> None:
    tape = orders.tape("order")
    with orders.producing():
        tape.wait(lambda: len(tape.live()) == 3, "the initial snapshot")
        orders.execute("truncate lines", "insert into lines values (2, 9, 'z')")
        tape.wait_for({"1": order(1, "one"), "2": order(2, "two", (9, "z")), "3": order(3, None)})


def test_truncating_both_deletes_every_order(orders: Shop) -> None:
    tape = orders.tape("order")
    with orders.producing():
        tape.wait(lambda: len(tape.live()) == 3, "the initial snapshot")
        orders.execute("truncate orders, lines; insert into orders values (5, 'five')")
        tape.wait_for({"5": order(5, "five")})


def test_columns_of_lines_and_orders_come_and_go_while_it_runs(orders: Shop) -> None:
    tape = orders.tape("order")
    with orders.producing():
        tape.wait(lambda: len(tape.live()) == 3, "the initial snapshot")
        orders.execute("alter table lines drop sku", "update lines set no = 5 where order_id = 2")
        tape.wait(lambda: tape.live()["2"] == order(2, "two", (5, None)), lambda: f"2 without sku: {tape.live()}")
        orders.execute("alter table lines add sku text", "update lines set sku = 'new' where order_id = 2")
        tape.wait(lambda: tape.live()["2"] == order(2, "two", (5, "new")), lambda: f"2 with its sku: {tape.live()}")
        orders.execute("alter table orders rename name to title", "insert into orders values (4, 'four')")
        tape.wait(lambda: tape.live().get("4") == order(4, None), lambda: f"4 without a name: {tape.live()}")
