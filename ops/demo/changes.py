"""The single changes that `random_changes` is made of, and what they need to know of the database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar, cast

from sorbus.ops.demo.feed import Connection
from sorbus.ops.demo.seeded_random import SeededRandom
from sorbus.ops.demo.tables import insert, update

T = TypeVar("T")

_COUNTRIES = ("Germany", "France", "UK", "USA", "Brazil", "Sweden", "Mexico", "Venezuela", "Ireland", None)
_TEXTS = (
    "plain", "", " padded ", "O'Hara", 'say "hi"', "back\\slash \\N", "tab\there", "two\nlines", "return\r",
    "semi;colon",     "Łódź €5", "日本語", "🦔 hedgehog", "a|b%7C", "{braces}", "NULL", "null", "0", "-1e5", "\\x00",
)  # fmt: skip
_OWN_EMPLOYEES, _OWN_PRODUCTS, _OWN_ORDERS = 1_000, 1_000, 12_000
_LARGEST = 32_767
_FIRST_EMPLOYEES = range(1, 10)


class Impossible(Exception):  # not an error: another change is chosen
    """The change can't be made to the database as it is."""


@dataclass
class Known:
    """What is in the database, so that choices need no queries: ordered, since sets have no order to repeat."""

    customers: list[str]
    products: list[int]
    orders: dict[int, list[int]]
    """Order -> the products of its lines."""
    placed: Counter[str]
    """Customer -> how many orders."""
    sold: Counter[int]
    """Product -> how many lines."""
    employees: list[int] = field(default_factory=list)
    """Those made here; nothing refers to them."""
    numbers: Counter[str] = field(default_factory=Counter)

    @classmethod
    def read(cls, connection: Connection) -> Known:
        """From the database as it is."""
        orders: dict[int, list[int]] = {cast("int", row[0]): [] for row in connection.execute(_ORDERS)}
        for order, product in connection.execute(_LINES):
            orders[cast("int", order)].append(cast("int", product))
        return cls(
            [cast("str", row[0]) for row in connection.execute(_CUSTOMERS)],
            [cast("int", row[0]) for row in connection.execute(_PRODUCTS)],
            orders,
            Counter(str(row[0]) for row in connection.execute(_PLACED)),
            Counter(product for lines in orders.values() for product in lines),
            [cast("int", row[0]) for row in connection.execute(_EMPLOYEES, [_OWN_EMPLOYEES])],
            Counter({str(row[0]): cast("int", row[1]) for row in connection.execute(_NUMBERS)}),
        )

    def copy(self) -> Known:
        """What is known now, to go back to when a transaction is rolled back."""
        orders = {order: lines.copy() for order, lines in self.orders.items()}
        lists = self.customers.copy(), self.products.copy(), orders, self.placed.copy(), self.sold.copy()
        return Known(*lists, self.employees.copy(), self.numbers.copy())

    def number(self, what: str, first: int) -> int:
        """A number not used before; Impossible when the column's two bytes are full."""
        self.numbers[what] += 1
        if first + self.numbers[what] > _LARGEST:
            raise Impossible
        return first + self.numbers[what]


_CUSTOMERS = "select customer_id from customers order by 1"
_PRODUCTS = "select product_id from products order by 1"
_ORDERS = "select order_id from orders order by 1"
_LINES = "select order_id, product_id from order_details order by 1, 2"
_PLACED = "select customer_id from orders where customer_id is not null"
_EMPLOYEES = "select employee_id from employees where employee_id > %s order by 1"
_NUMBERS = (
    "select 'product', greatest(max(product_id) - 1000, 0) from products"
    " union all select 'order', greatest(max(order_id) - 12000, 0) from orders"
    " union all select 'employee', greatest(max(employee_id) - 1000, 0) from employees"
    " union all select 'customer', coalesce(max(customer_id::int), 0) from customers where customer_id ~ '^[0-9]{5}$'"
)


def _customer_columns(chance: SeededRandom) -> dict[str, object]:
    return {
        "company_name": f"{_text(chance)[:30]} {chance.randrange(100)}",
        "contact_name": _maybe(chance, _text(chance)[:30]),
        "contact_title": _maybe(chance, _text(chance)[:30]),
        "address": _maybe(chance, f"{_text(chance)}  {chance.randrange(100)}"),
        "city": _maybe(chance, _text(chance)[:15]),
        "region": _maybe(chance, _text(chance)[:15]),
        "postal_code": _maybe(chance, f"{chance.randrange(100_000):05}"),
        "country": chance.choice(_COUNTRIES[:-1]),
        "phone": _maybe(chance, f"({chance.randrange(10)}) 555-{chance.randrange(10_000):04}"),
    }


def insert_customer(connection: Connection, chance: SeededRandom, known: Known) -> None:
    code = f"{known.number('customer', 0):05}"
    insert(connection, "customers", {"customer_id": code, **_customer_columns(chance)})
    known.customers.append(code)


def update_customer(connection: Connection, chance: SeededRandom, known: Known) -> None:
    update(
        connection,
        "customers",
        {"customer_id": _any(chance, known.customers)},
        _some(chance, _customer_columns(chance)),
    )


def rename_customer(connection: Connection, chance: SeededRandom, known: Known) -> None:
    """Another key: only where no order refers to it, as Northwind has no cascades."""
    old = _any(chance, [code for code in known.customers if not known.placed[code]])
    new = f"{known.number('customer', 0):05}"
    update(
        connection, "customers", {"customer_id": old}, {"customer_id": new, **_some(chance, _customer_columns(chance))}
    )
    known.customers[known.customers.index(old)] = new


def delete_customer(connection: Connection, chance: SeededRandom, known: Known) -> None:
    code = _any(chance, [code for code in known.customers if not known.placed[code]])
    connection.execute("delete from customers where customer_id = %s", [code])
    known.customers.remove(code)


def _product_columns(chance: SeededRandom) -> dict[str, object]:
    return {
        "product_name": f"{_text(chance)[:30]} {chance.randrange(1000)}",
        "supplier_id": _maybe(chance, chance.randrange(1, 30)),
        "category_id": _maybe(chance, chance.randrange(1, 9)),
        "quantity_per_unit": _maybe(chance, _text(chance)[:20]),
        "unit_price": _maybe(chance, _price(chance)),
        "units_in_stock": chance.randrange(500),
        "discontinued": chance.randrange(2),
    }


def insert_product(connection: Connection, chance: SeededRandom, known: Known) -> None:
    product = known.number("product", _OWN_PRODUCTS)
    insert(connection, "products", {"product_id": product, **_product_columns(chance)})
    known.products.append(product)


def update_product(connection: Connection, chance: SeededRandom, known: Known) -> None:
    update(
        connection, "products", {"product_id": _any(chance, known.products)}, _some(chance, _product_columns(chance))
    )


def renumber_product(connection: Connection, chance: SeededRandom, known: Known) -> None:
    old = _any(chance, [product for product in known.products if not known.sold[product]])
    new = known.number("product", _OWN_PRODUCTS)
    update(connection, "products", {"product_id": old}, {"product_id": new})
    known.products[known.products.index(old)] = new


def delete_product(connection: Connection, chance: SeededRandom, known: Known) -> None:
    product = _any(chance, [product for product in known.products if not known.sold[product]])
    connection.execute("delete from products where product_id = %s", [product])
    known.products.remove(product)


def reprice_category(connection: Connection, chance: SeededRandom, _: Known) -> None:
    """Many rows in one statement."""
    connection.execute(
        "update products set unit_price = %s where category_id = %s", [_price(chance), chance.randrange(1, 9)]
    )


def insert_employee(connection: Connection, chance: SeededRandom, known: Known) -> None:
    """With a picture and notes that don't fit into a page, and don't compress."""
    employee = known.number("employee", _OWN_EMPLOYEES)
    columns = {
        "employee_id": employee,
        "last_name": f"{_text(chance)[:15]}x",
        "first_name": f"y{_text(chance)[:8]}",
        "birth_date": _maybe(chance, f"19{chance.randrange(40, 99)}-02-{chance.randrange(1, 29):02}"),
        "country": chance.choice(_COUNTRIES),
        "photo": chance.randbytes(5_000),
        "notes": _long_text(chance),
        "reports_to": chance.choice(_FIRST_EMPLOYEES),
    }
    insert(connection, "employees", columns)
    known.employees.append(employee)


def update_employee(connection: Connection, chance: SeededRandom, known: Known) -> None:
    """Leaves notes and picture alone: PostgreSQL doesn't send them, the record must have them all the same."""
    columns = {"title": _text(chance)[:30], "extension": f"{chance.randrange(10_000)}", "city": _text(chance)[:15]}
    update(
        connection,
        "employees",
        {"employee_id": _any(chance, [*_FIRST_EMPLOYEES, *known.employees])},
        _some(chance, columns),
    )


def annotate_employee(connection: Connection, chance: SeededRandom, known: Known) -> None:
    notes = chance.choice([None, "short", _long_text(chance)])
    update(connection, "employees", {"employee_id": _any(chance, known.employees)}, {"notes": notes})


def renumber_employee(connection: Connection, chance: SeededRandom, known: Known) -> None:
    """Another key, its long values not sent."""
    old, new = _any(chance, known.employees), known.number("employee", _OWN_EMPLOYEES)
    update(connection, "employees", {"employee_id": old}, {"employee_id": new})
    known.employees[known.employees.index(old)] = new


def delete_employee(connection: Connection, chance: SeededRandom, known: Known) -> None:
    employee = _any(chance, known.employees)
    connection.execute("delete from employees where employee_id = %s", [employee])
    known.employees.remove(employee)


def _order_columns(chance: SeededRandom, known: Known) -> dict[str, object]:
    day = f"19{chance.randrange(96, 99)}-{chance.randrange(1, 13):02}-{chance.randrange(1, 29):02}"
    return {
        "customer_id": _any(chance, known.customers),
        "employee_id": _maybe(chance, chance.choice(_FIRST_EMPLOYEES)),
        "order_date": day,
        "required_date": _maybe(chance, day),
        "shipped_date": _maybe(chance, day),
        "ship_via": _maybe(chance, chance.randrange(1, 7)),
        "freight": _maybe(chance, _price(chance)),
        "ship_name": _maybe(chance, _text(chance)),
        "ship_country": chance.choice(_COUNTRIES),
    }


def _line_columns(chance: SeededRandom) -> dict[str, object]:
    discount = chance.choice([0, 0.05, 0.1, 0.15, 0.25])
    return {"unit_price": _price(chance), "quantity": chance.randrange(1, 200), "discount": discount}


def place_order(connection: Connection, chance: SeededRandom, known: Known) -> None:
    order, columns = known.number("order", _OWN_ORDERS), _order_columns(chance, known)
    products = sorted(chance.sample(known.products, min(len(known.products), chance.choice([0, 1, 2, 3, 8]))))
    insert(connection, "orders", {"order_id": order, **columns})
    for product in products:
        insert(connection, "order_details", {"order_id": order, "product_id": product, **_line_columns(chance)})
    known.orders[order] = products
    known.placed[str(columns["customer_id"])] += 1
    known.sold.update(products)


def update_order(connection: Connection, chance: SeededRandom, known: Known) -> None:
    columns = _order_columns(chance, known)
    del columns["customer_id"]
    update(connection, "orders", {"order_id": _any(chance, list(known.orders))}, _some(chance, columns))


def add_line(connection: Connection, chance: SeededRandom, known: Known) -> None:
    order = _any(chance, list(known.orders))
    product = _any(chance, [product for product in known.products if product not in known.orders[order]])
    insert(connection, "order_details", {"order_id": order, "product_id": product, **_line_columns(chance)})
    known.orders[order].append(product)
    known.sold[product] += 1


def update_line(connection: Connection, chance: SeededRandom, known: Known) -> None:
    order, product = _any_line(chance, known)
    update(
        connection, "order_details", {"order_id": order, "product_id": product}, _some(chance, _line_columns(chance))
    )


def exchange_product(connection: Connection, chance: SeededRandom, known: Known) -> None:
    """A line's own key changes."""
    order, old = _any_line(chance, known)
    new = _any(chance, [product for product in known.products if product not in known.orders[order]])
    update(connection, "order_details", {"order_id": order, "product_id": old}, {"product_id": new})
    known.orders[order][known.orders[order].index(old)] = new
    known.sold[old] -= 1
    known.sold[new] += 1


def move_line(connection: Connection, chance: SeededRandom, known: Known) -> None:
    """A line goes to another order: two records change by one row."""
    order, product = _any_line(chance, known)
    other = _any(
        chance,
        [
            one
            for one in chance.sample(list(known.orders), min(20, len(known.orders)))
            if product not in known.orders[one]
        ],
    )
    update(connection, "order_details", {"order_id": order, "product_id": product}, {"order_id": other})
    known.orders[order].remove(product)
    known.orders[other].append(product)


def delete_line(connection: Connection, chance: SeededRandom, known: Known) -> None:
    order, product = _any_line(chance, known)
    connection.execute("delete from order_details where order_id = %s and product_id = %s", [order, product])
    known.orders[order].remove(product)
    known.sold[product] -= 1


def renumber_order(connection: Connection, chance: SeededRandom, known: Known) -> None:
    """Another number for an order with all its lines: copied, the lines moved over, the old one deleted."""
    old, new = _any(chance, list(known.orders)), known.number("order", _OWN_ORDERS)
    connection.execute(
        "insert into orders (order_id, customer_id, order_date, freight)"
        " select %s, customer_id, order_date, freight from orders where order_id = %s",
        [new, old],
    )
    connection.execute("update order_details set order_id = %s where order_id = %s", [new, old])
    connection.execute("delete from orders where order_id = %s", [old])
    known.orders[new] = known.orders.pop(old)


def delete_order(connection: Connection, chance: SeededRandom, known: Known) -> None:
    order = _any(chance, list(known.orders))
    connection.execute("delete from order_details where order_id = %s", [order])
    gone = connection.execute("delete from orders where order_id = %s returning customer_id", [order]).fetchone()
    known.sold.subtract(known.orders.pop(order))
    if gone is not None:
        known.placed[str(gone[0])] -= 1


CHANGES: Sequence[tuple[int, Callable[[Connection, SeededRandom, Known], None]]] = (
    (6, insert_customer),
    (10, update_customer),
    (2, rename_customer),
    (3, delete_customer),
    (4, insert_product),
    (8, update_product),
    (2, renumber_product),
    (2, delete_product),
    (1, reprice_category),
    (3, insert_employee),
    (6, update_employee),
    (2, annotate_employee),
    (1, renumber_employee),
    (2, delete_employee),
    (9, place_order),
    (10, update_order),
    (8, add_line),
    (10, update_line),
    (3, exchange_product),
    (3, move_line),
    (6, delete_line),
    (2, renumber_order),
    (5, delete_order),
)


def _any(chance: SeededRandom, things: Sequence[T]) -> T:
    if not things:
        raise Impossible
    return chance.choice(things)


def _any_line(chance: SeededRandom, known: Known) -> tuple[int, int]:
    order = _any(chance, list(known.orders))
    return order, _any(chance, known.orders[order])


def _some(chance: SeededRandom, columns: Mapping[str, object]) -> dict[str, object]:
    names = chance.sample(list(columns), chance.randrange(1, len(columns) + 1))
    return {name: columns[name] for name in names}


def _maybe(chance: SeededRandom, value: T) -> T | None:
    return value if chance.random() < 0.85 else None


def _text(chance: SeededRandom) -> str:
    return chance.choice(_TEXTS)


def _long_text(chance: SeededRandom) -> str:
    return chance.randbytes(chance.choice([3_000, 10_000, 60_000])).hex()


def _price(chance: SeededRandom) -> float:
    """At most six digits, which is what a four-byte float keeps."""
    return chance.randrange(1, 30_000) / 100
