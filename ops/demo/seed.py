"""Fills a new CRM: some thousand rows, the same for the same seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

from sorbus.ops.demo import rows
from sorbus.ops.demo.feed import Connection
from sorbus.ops.demo.rows import Row
from sorbus.ops.demo.seeded_random import SeededRandom
from sorbus.ops.demo.tables import copy

SEED = 20240108
_EMPLOYEES, _CUSTOMERS, _PRODUCTS, _ORDERS = 40, 400, 250, 1_500


def seed_crm(connection: Connection, *, seed: int = SEED, scale: float = 1.0) -> dict[str, int]:
    """Fills the empty tables of crm.sql in one transaction; `scale` makes the company larger or smaller.

    Returns the number of rows per table.
    """
    chance = SeededRandom(seed)
    employees, customers, products, orders = (
        range(1, 1 + max(3, round(count * scale))) for count in (_EMPLOYEES, _CUSTOMERS, _PRODUCTS, _ORDERS)
    )
    made = {}
    with connection.transaction():
        made["employees"] = copy(
            connection, "employees", (rows.employee(chance, n, range(1, min(n, 6))) for n in employees)
        )
        made["customers"] = copy(connection, "customers", (rows.customer(chance, n, employees) for n in customers))
        made["products"] = copy(connection, "products", (rows.product(chance, n) for n in products))
        made["orders"] = copy(connection, "orders", (rows.order(chance, n, customers, employees) for n in orders))
        found = connection.execute("select product_id, list_price from products order by 1").fetchall()
        priced = [cast("rows.Priced", row) for row in found]
        made["order_lines"] = copy(connection, "order_lines", _lines(chance, orders, priced))
    return made


def _lines(chance: SeededRandom, orders: Sequence[int], products: Sequence[rows.Priced]) -> Iterator[Row]:
    for order_id in orders:
        for line in range(1, chance.randrange(2, 6)):
            yield rows.order_line(chance, order_id, line, products)
