"""What a trading company's people would do to Northwind, a transaction each."""

from __future__ import annotations

import datetime as dt
from typing import cast

from psycopg import sql

from sorbus.ops.demo import vocabulary as words
from sorbus.ops.demo.feed import Connection, Feed, NothingThere, pick
from sorbus.ops.demo.seeded_random import SeededRandom
from sorbus.ops.demo.tables import insert, update

_COUNTRIES = ("Germany", "France", "UK", "USA", "Brazil", "Sweden", "Mexico", "Venezuela", "Ireland")
_NOT_SHIPPED = sql.SQL("shipped_date is null")
_NEVER_ORDERED = sql.SQL("not exists (select from orders where orders.customer_id = customers.customer_id)")
_OLDEST_DAY = dt.date(1998, 5, 7)
_LAST_ID = 32_000
"""Northwind's order numbers are two-byte integers."""


def new_customer(connection: Connection, chance: SeededRandom) -> str:
    """A shop opens an account; its five-letter code is made of its name and the deed's number."""
    family = chance.choice(words.FAMILY_NAMES)
    code = f"{family[0].upper()}{chance.number % 10_000:04}"
    if connection.execute("select from customers where customer_id = %s", [code]).fetchone():
        raise NothingThere(f"code {code} is taken")
    shop = f"{family} {chance.choice(words.TRADES)}"
    contact = f"{chance.choice(words.GIVEN_NAMES)} {family}"
    insert(
        connection,
        "customers",
        {"customer_id": code, "company_name": shop, "contact_name": contact, "contact_title": "Owner"}
        | _address(chance),
    )
    return f"new customer {code} {shop}"


def move_house(connection: Connection, chance: SeededRandom) -> str:
    """A customer moves."""
    customer, new = pick(connection, chance, "customers", "customer_id"), _address(chance)
    update(connection, "customers", {"customer_id": customer}, new)
    return f"customer {customer} moved to {new['city']}, {new['country']}"


def place_order(connection: Connection, chance: SeededRandom) -> str:
    """A customer orders: head and lines in one transaction."""
    found = connection.execute("select max(order_id) + 1 from orders").fetchone()
    order = cast("int", found[0] if found and found[0] else 10_248)
    if order > _LAST_ID:
        raise NothingThere("no order number is left")
    customer = pick(connection, chance, "customers", "customer_id")
    day = _OLDEST_DAY + dt.timedelta(days=chance.number // 50)
    insert(
        connection,
        "orders",
        {
            "order_id": order,
            "customer_id": customer,
            "employee_id": pick(connection, chance, "employees", "employee_id"),
            "order_date": day,
            "required_date": day + dt.timedelta(days=28),
            "ship_via": chance.randrange(1, 7),
            "freight": chance.randrange(100, 20_000) / 100,
            "ship_name": chance.choice(words.FAMILY_NAMES),
            "ship_city": chance.choice(words.TOWNS).name,
            "ship_country": chance.choice(_COUNTRIES),
        },
    )
    lines = chance.randrange(1, 6)
    chosen = connection.execute(
        "select product_id, unit_price from products order by md5(product_id::text || %s), 1", [chance.number]
    )
    for product_id, unit_price in chosen.fetchmany(lines):
        discount = chance.choice([0, 0, 0.05, 0.15])
        line = {"product_id": product_id, "unit_price": unit_price, "quantity": chance.randrange(1, 80)}
        insert(connection, "order_details", {"order_id": order, **line, "discount": discount})
    return f"order {order} by customer {customer}, {lines} line{'s' * (lines > 1)}"


def amend_order(connection: Connection, chance: SeededRandom) -> str:
    """More or less of one line, or the line taken out."""
    order = pick(connection, chance, "orders", "order_id", _NOT_SHIPPED)
    found = connection.execute("select product_id from order_details where order_id = %s order by 1", [order])
    lines = [cast("int", row[0]) for row in found]
    if not lines:
        raise NothingThere(f"order {order} has no lines")
    product = chance.choice(lines)
    if len(lines) > 1 and chance.random() < 0.3:
        connection.execute("delete from order_details where order_id = %s and product_id = %s", [order, product])
        return f"order {order} amended: product {product} taken out"
    quantity = chance.randrange(1, 100)
    update(connection, "order_details", {"order_id": order, "product_id": product}, {"quantity": quantity})
    return f"order {order} amended: {quantity} of product {product}"


def ship_order(connection: Connection, chance: SeededRandom) -> str:
    """The warehouse gets on with it."""
    order = pick(connection, chance, "orders", "order_id", _NOT_SHIPPED)
    connection.execute("update orders set shipped_date = order_date + 5 where order_id = %s", [order])
    return f"order {order} is shipped"


def reprice(connection: Connection, chance: SeededRandom) -> str:
    """A category gets dearer or cheaper, all at once."""
    category, percent = chance.randrange(1, 9), chance.choice([-3, 2, 5])
    done = connection.execute(
        "update products set unit_price = round((unit_price * %s)::numeric, 2) where category_id = %s",
        [(100 + percent) / 100, category],
    )
    return f"{done.rowcount} products of category {category} repriced by {percent} %"


def promote(connection: Connection, chance: SeededRandom) -> str:
    """Somebody gets another title."""
    employee = pick(connection, chance, "employees", "employee_id")
    title = chance.choice(["Sales Representative", "Sales Manager", "Inside Sales Coordinator"])
    update(connection, "employees", {"employee_id": employee}, {"title": title})
    return f"employee {employee} is {title}"


def delete_order(connection: Connection, chance: SeededRandom) -> str:
    """An order is cancelled and its lines with it."""
    order = pick(connection, chance, "orders", "order_id", _NOT_SHIPPED)
    connection.execute("delete from order_details where order_id = %s", [order])
    connection.execute("delete from orders where order_id = %s", [order])
    return f"order {order} thrown away"


def delete_customer(connection: Connection, chance: SeededRandom) -> str:
    """A customer who never ordered is forgotten."""
    customer = pick(connection, chance, "customers", "customer_id", _NEVER_ORDERED)
    connection.execute("delete from customers where customer_id = %s", [customer])
    return f"customer {customer} forgotten"


NORTHWIND_FEED = Feed(
    (
        (8, new_customer),
        (16, move_house),
        (24, place_order),
        (16, amend_order),
        (16, ship_order),
        (6, reprice),
        (4, promote),
        (3, delete_order),
        (3, delete_customer),
    )
)


def _address(chance: SeededRandom) -> dict[str, object]:
    town = chance.choice(words.TOWNS)
    return {
        "address": f"{chance.choice(words.STREETS)} {chance.randrange(1, 200)}",
        "city": town.name,
        "region": None,
        "postal_code": town.postcode,
        "country": chance.choice(_COUNTRIES),
    }
