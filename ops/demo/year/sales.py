"""What sales does in the CRM."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import psycopg

from sorbus.ops.demo.year.facts import Customer, Line, Order
from sorbus.ops.demo.year.warehouse import Warehouse
from sorbus.ops.demo.year.workplace import YEAR, Workplace

_PLACES = (("DE", "Köln"), ("DE", "Ulm"), ("AT", "Wien"), ("CH", "Zürich"), ("FR", "Lyon"), ("PL", "Łódź"))
_NAMES = ("Müller", "Nowak", "O'Hara", "Weiß", "Ibrahim", "Sørensen", "Rossi", "Novák", "Dvořák", "Lindqvist")


class Sales:
    """`mistaken`: the customers that were entered twice this week, and are deleted next week."""

    def __init__(self, at: Workplace, warehouse: Warehouse) -> None:
        self.at, self._warehouse = at, warehouse
        self.email_column = "email"
        self.mistaken: list[int] = []

    def week(self, monday: date, place: int) -> None:
        """Customers come, change and go; orders are taken, confirmed and cancelled."""
        chance, ledger = self.at.chance, self.at.ledger
        for id in self.mistaken:  # entered twice last week
            self.at.run("crm", "delete from customers where customer_id = %s", id)
            del ledger.customers[id]
            self.at.did("crm: customer deleted")
        self.mistaken.clear()
        for _ in range(self.at.volume.weekly(0.1)):
            self.new_customer(monday)
        if chance.random() < 0.5:
            self.mistaken.append(self.new_customer(monday, stage="lead").id)
        known = [one for one in ledger.customers.values() if one.id not in self.mistaken]
        for _ in range(self.at.volume.weekly(0.15)):
            self._change_customer(chance.choice(known))
        for order in [one for one in ledger.orders.values() if one.state == "placed"]:
            self._set_state(order, "confirmed" if chance.random() < 0.9 else "cancelled", monday, place)
        planned = [entry for entry in self._warehouse.to_ship if entry[0] > place]
        for entry in chance.sample(planned, len(planned) // 20):
            self._warehouse.to_ship.remove(entry)
            self._set_state(entry[1], "cancelled", monday, place)
        for _ in range(self.at.volume.weekly(1.0)):
            self._new_order(chance.choice(known), monday, place)

    def new_customer(self, day: date, stage: str | None = None) -> Customer:
        """Somebody new."""
        chance, number = self.at.chance, self.at.next()
        country, town = chance.choice(_PLACES)
        name = f"{chance.choice(_NAMES)} & {chance.choice(_NAMES)} {number} GmbH"
        one = Customer(
            0, f"C-{number:05d}", name, f"office{number}@customer.example", country,
            stage or chance.choice(("active", "active", "lead")), chance.choice((14, 30, 60)), chance.random() < 0.6,
        )  # fmt: skip
        [[id]] = self.at.run(
            "crm",
            f"insert into customers (customer_no, company, {self.email_column}, town, country, stage, terms,"
            " newsletter, created_on) values (%s, %s, %s, %s, %s, %s, %s, %s, %s) returning customer_id",
            one.number, one.name, one.email, town, country, one.stage, one.terms, one.newsletter, day,
        )  # fmt: skip
        one.id = int(str(id))
        self.at.ledger.customers[one.id] = one
        self.at.did("crm: new customer")
        return one

    def _change_customer(self, one: Customer) -> None:
        kind = self.at.chance.random()
        if kind < 0.4:
            one.email = f"mail{self.at.next()}@customer.example"
        elif kind < 0.7:
            one.newsletter = not one.newsletter
        else:
            one.stage = {"lead": "active", "active": "closed", "closed": "active"}[one.stage]
        self.at.run(
            "crm",
            f"update customers set {self.email_column} = %s, newsletter = %s, stage = %s where customer_id = %s",
            one.email, one.newsletter, one.stage, one.id,
        )  # fmt: skip
        self.at.did("crm: customer changed")

    def rename_customer(self, one: Customer, name: str) -> None:
        """The company has another name."""
        one.name = name
        self.at.run("crm", "update customers set company = %s where customer_id = %s", name, one.id)
        self.at.did("crm: customer changed")

    def _new_order(self, customer: Customer, monday: date, place: int) -> None:
        chance, number = self.at.chance, f"SO-{self.at.next():06d}"
        day, lines = monday + timedelta(chance.randrange(7)), []
        for line in range(1, chance.randrange(2, 6)):
            product = chance.choice(list(self.at.ledger.products.values()))
            amount = (
                Decimal(chance.randrange(1, 12)) if chance.random() < 0.9 else Decimal(chance.randrange(1, 9999)) / 1000
            )
            discount = chance.choice((Decimal(0), Decimal(0), Decimal("0.05"), Decimal("0.0333")))
            lines.append(Line(line, product.sku, amount, product.price, discount, product.vat))
        confirmed = chance.random() < 0.7
        with psycopg.connect(self.at.dsns["crm"]) as connection:
            found = connection.execute(
                "insert into orders (order_no, customer_id, state, ordered_on) values (%s, %s, %s, %s)"
                " returning order_id",
                (number, customer.id, "confirmed" if confirmed else "placed", day),
            ).fetchone()
            assert found is not None
            connection.cursor().executemany(
                "insert into order_lines values (%s, %s, %s, %s, %s, %s, %s)",
                [(found[0], one.number, one.sku, one.quantity, one.price, one.discount, one.vat) for one in lines],
            )
        order = Order(int(found[0]), number, customer.id, "placed", day, lines)
        self.at.ledger.orders[order.id] = order
        self.at.did("crm: order")
        if confirmed:
            self._confirmed(order, monday, place)

    def _confirmed(self, order: Order, monday: date, place: int) -> None:
        order.state = "confirmed"
        weeks = self.at.chance.choice((1, 1, 2))
        day = max(order.ordered_on, monday) + timedelta(self.at.chance.randrange(1, 7 * weeks))
        self._warehouse.to_ship.append((place + weeks, order, min(day, date(YEAR, 12, 31))))

    def _set_state(self, order: Order, state: str, monday: date, place: int) -> None:
        self.at.run("crm", "update orders set state = %s where order_id = %s", state, order.id)
        self.at.did(f"crm: order {state}")
        order.state = state
        if state == "confirmed":
            self._confirmed(order, monday, place)
