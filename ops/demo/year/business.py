"""What the people of the company do, week by week, each in their own system; the ledger is told afterwards.

The same seed does the same things: nothing depends on what has arrived where, except that the warehouse ships what its
ERP shows, on a day that was agreed before.
"""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

from sorbus.ops.demo.year.facts import Product
from sorbus.ops.demo.year.finance import Finance
from sorbus.ops.demo.year.price_list import PriceList
from sorbus.ops.demo.year.sales import Sales
from sorbus.ops.demo.year.services import Delivery, Support
from sorbus.ops.demo.year.staff import Staff
from sorbus.ops.demo.year.warehouse import Warehouse
from sorbus.ops.demo.year.workplace import WEEKS, YEAR, Workplace

_VAT = (Decimal("0.19"), Decimal("0.19"), Decimal("0.07"))
_KINDS = ("Gauge", "Valve", "Probe", "Sensor", "Relay", "Meter", "Switch", "Pump")


class Business:
    """The company at work, department by department."""

    def __init__(self, at: Workplace) -> None:
        self.at, self.ledger = at, at.ledger
        self.finance = Finance(at)
        self.warehouse = Warehouse(at, self.finance)
        self.sales = Sales(at, self.warehouse)
        self.delivery = Delivery(at, self.sales, self.finance)
        self.support, self.staff, self.price_list = Support(at), Staff(at), PriceList(at)

    def open(self) -> None:
        """The second of January: what there is before anything is sold."""
        chance, ledger, day = self.at.chance, self.ledger, date(YEAR, 1, 2)
        for rate, since in ((Decimal("95.00"), date(YEAR, 1, 1)), (Decimal("98.50"), date(YEAR, 7, 1))):
            ledger.rates[since] = rate, Decimal("0.19")
            self.at.run("erp", "insert into hourly_rates values (%s, %s, 0.19)", since, rate)
        for number in range(1, 41):
            kind = _KINDS[number % len(_KINDS)]
            sku, price = f"{kind[:2].upper()}-{number:04d}", Decimal(chance.randrange(390, 99_000)) / 100
            ledger.products[sku] = Product(sku, f"{kind} {number}", price, chance.choice(_VAT))
        self.price_list.save()
        for sku in ledger.products:
            self.warehouse.goods_in(sku, Decimal(200), day)
        for _ in range(20):
            self.staff.join(date(YEAR - 3, 1, 1) + timedelta(chance.randrange(1000)))
        for _ in range(self.at.volume.weekly(0.6)):
            self.sales.new_customer(day)
        for _ in range(4):
            self.delivery.new_project(day)

    def week(self, month: int, week: int) -> None:
        """A week of business: 1 to 4 of a month."""
        monday, place = date(YEAR, month, 7 * week - 6), (month - 1) * WEEKS + week
        self.sales.week(monday, place)
        self.warehouse.week(monday, place)
        self.delivery.week(monday, place)
        self.support.week()
        self.staff.week(monday)
        self.price_list.week()
        self.finance.week(monday, place)

    def closing(self, month: int) -> int:
        """Before the books are closed: what was to be shipped and paid by now, is. How many deliveries aren't there."""
        monday, place = date(YEAR, month, 28), month * WEEKS
        self.finance.week(monday, place)
        return self.warehouse.week(monday, place)
