"""A day at the demo company: what its people do to the CRM (crm.sql), a transaction each."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import cast

from psycopg import sql

from sorbus.ops.demo import rows
from sorbus.ops.demo import vocabulary as words
from sorbus.ops.demo.feed import Connection, Feed, pick
from sorbus.ops.demo.seeded_random import SeededRandom
from sorbus.ops.demo.tables import insert, update

_OWN_NUMBERS = 100_000
"""Numbers of what the feed makes begin here, above the seed's."""
_NEXT = {"quote": "placed", "placed": "confirmed", "confirmed": "shipped", "shipped": "done", "done": "done"}
_OPEN = sql.SQL("state in ('quote', 'placed', 'confirmed', 'shipped')")
_NEVER_SENT = sql.SQL("state in ('quote', 'cancelled', 'placed')")
_NEVER_ORDERED = sql.SQL("not exists (select from orders where orders.customer_id = customers.customer_id)")

_HIGHEST = """
    select greatest(0, max(number) - %s + 1)::int from (
        select substring(customer_no from '^C-(\\d+)$')::bigint - 10000 from customers
        union all select substring(order_no from '^SO-(\\d+)$')::bigint - 100000 from orders
        union all select substring(sku from '-(\\d+)$')::bigint from products
    ) as used (number)
"""


def new_customer(connection: Connection, chance: SeededRandom) -> str:
    """A lead comes in."""
    row = rows.customer(chance, _OWN_NUMBERS + chance.number, [_employee(connection, chance)])
    insert(connection, "customers", row)
    return f"new customer {row['customer_no']} {row['company'] or row['contact_last']}, {row['town']}"


def move_house(connection: Connection, chance: SeededRandom) -> str:
    """A customer moves."""
    customer, new = _customer(connection, chance), rows.address(chance)
    update(connection, "customers", {"customer_id": customer}, new)
    return f"customer {customer} moved to {new['town']}, {new['country']}"


def change_stage(connection: Connection, chance: SeededRandom) -> str:
    """Sales sees a customer in another light."""
    customer, stage = _customer(connection, chance), chance.choice(["active", "active", "on hold", "closed"])
    update(connection, "customers", {"customer_id": customer}, {"stage": stage, "notes": rows.note(chance)})
    return f"customer {customer} is {stage}"


def place_order(connection: Connection, chance: SeededRandom) -> str:
    """A customer orders: head and lines in one transaction."""
    customer = _customer(connection, chance)
    head = rows.order(chance, _OWN_NUMBERS + chance.number, [customer], [_employee(connection, chance)])
    order = cast("int", insert(connection, "orders", head | {"state": "placed", "shipped_on": None}))
    lines, products = chance.randrange(1, 7), _priced(connection)
    for line in range(1, lines + 1):
        insert(connection, "order_lines", rows.order_line(chance, order, line, products))
    return f"order {head['order_no']} by customer {customer}, {lines} line{'s' * (lines > 1)}"


def amend_order(connection: Connection, chance: SeededRandom) -> str:
    """A customer has second thoughts: something else as well, more of it, or less."""
    order = pick(connection, chance, "orders", "order_id", _OPEN)
    found = connection.execute("select line_number from order_lines where order_id = %s order by 1", [order])
    lines = [cast("int", row[0]) for row in found]
    what = chance.choice(["add", "change", "remove"]) if len(lines) > 1 else "add"
    if what == "add":
        line = rows.order_line(chance, order, max(lines, default=0) + 1, _priced(connection))
        insert(connection, "order_lines", line)
        return f"order {order} amended: line {line['line_number']} added"
    chosen = chance.choice(lines)
    if what == "remove":
        connection.execute("delete from order_lines where order_id = %s and line_number = %s", [order, chosen])
        return f"order {order} amended: line {chosen} taken out"
    quantity = Decimal(chance.randrange(1, 60))
    update(connection, "order_lines", {"order_id": order, "line_number": chosen}, {"quantity": quantity})
    return f"order {order} amended: {quantity} of line {chosen}"


def advance_order(connection: Connection, chance: SeededRandom) -> str:
    """The warehouse gets on with it."""
    order = pick(connection, chance, "orders", "order_id", _OPEN)
    found = connection.execute("select state::text, placed_at from orders where order_id = %s", [order]).fetchone()
    assert found is not None
    state, placed = _NEXT[cast("str", found[0])], cast("dt.datetime", found[1])
    shipped = placed.date() + dt.timedelta(days=3) if state in ("shipped", "done") else None
    update(connection, "orders", {"order_id": order}, {"state": state, "shipped_on": shipped})
    return f"order {order} is {state}"


def reprice(connection: Connection, chance: SeededRandom) -> str:
    """Part of a product family gets dearer or cheaper, all at once."""
    family, percent = chance.choice(words.FAMILIES), chance.choice([-3, 2, 5])
    done = connection.execute(
        "update products set list_price = round(list_price * %s, 2) where family = %s and product_id %% 7 = %s",
        [Decimal(100 + percent) / 100, family, chance.randrange(7)],
    )
    return f"{done.rowcount} products of {family} repriced by {percent} %"


def new_product(connection: Connection, chance: SeededRandom) -> str:
    """Purchasing lists something new."""
    row = rows.product(chance, _OWN_NUMBERS + chance.number)
    insert(connection, "products", row)
    return f"new product {row['sku']} {row['title']}"


def move_employee(connection: Connection, chance: SeededRandom) -> str:
    """Somebody changes team."""
    employee, team = _employee(connection, chance), chance.choice(words.TEAMS)
    update(connection, "employees", {"employee_id": employee}, {"team": team, "site": chance.choice(words.SITES)})
    return f"employee {employee} moves to {team}"


def delete_order(connection: Connection, chance: SeededRandom) -> str:
    """An order that came to nothing is thrown away, with its lines."""
    order = pick(connection, chance, "orders", "order_id", _NEVER_SENT)
    connection.execute("delete from orders where order_id = %s", [order])
    return f"order {order} thrown away"


def delete_customer(connection: Connection, chance: SeededRandom) -> str:
    """A lead who never ordered is forgotten."""
    customer = pick(connection, chance, "customers", "customer_id", _NEVER_ORDERED)
    connection.execute("delete from customers where customer_id = %s", [customer])
    return f"customer {customer} forgotten"


CRM_FEED = Feed(
    (
        (8, new_customer),
        (14, move_house),
        (8, change_stage),
        (20, place_order),
        (16, amend_order),
        (16, advance_order),
        (6, reprice),
        (2, new_product),
        (4, move_employee),
        (3, delete_order),
        (3, delete_customer),
    )
)


def next_number(connection: Connection) -> int:
    """The first deed whose numbers nothing in the CRM has: they stay as short as the ledger's columns want them."""
    found = connection.execute(_HIGHEST, [_OWN_NUMBERS]).fetchone()
    return cast("int", found[0]) if found else 0


def _customer(connection: Connection, chance: SeededRandom) -> int:
    return pick(connection, chance, "customers", "customer_id")


def _employee(connection: Connection, chance: SeededRandom) -> int:
    return pick(connection, chance, "employees", "employee_id")


def _priced(connection: Connection) -> list[rows.Priced]:
    found = connection.execute("select product_id, list_price from products where withdrawn_on is null order by 1")
    return [cast("rows.Priced", row) for row in found]
