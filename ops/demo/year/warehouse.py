"""What the warehouse does in the ERP."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from sorbus.ops.demo.year.facts import Order
from sorbus.ops.demo.year.finance import Finance
from sorbus.ops.demo.year.workplace import Workplace


class Warehouse:
    """`to_ship`: the week, the order, and the day that was agreed."""

    def __init__(self, at: Workplace, finance: Finance) -> None:
        self.at, self._finance = at, finance
        self.to_ship: list[tuple[int, Order, date]] = []

    def week(self, monday: date, place: int) -> int:
        """Ships what is due and there; the rest waits for its order. How many wait."""
        for _ in range(self.at.volume.weekly(0.1)):
            sku = self.at.chance.choice(list(self.at.ledger.products))
            self.goods_in(sku, Decimal(self.at.chance.randrange(20, 200)), monday)
        waits = []
        there = {str(no) for (no,) in self.at.run("erp", "select delivery_no from deliveries where status = 'planned'")}
        for due, order, day in self.to_ship:
            if due > place or f"DL-{order.number}" not in there:
                waits.append((due, order, day))
                continue
            self.at.run("erp", "select ship(%s, %s)", f"DL-{order.number}", day)
            self.at.did("erp: delivery shipped")
            self._finance.expect(self.at.ledger.ship(order, day), due)
        self.to_ship = waits
        return sum(due <= place for due, *_ in waits)

    def goods_in(self, sku: str, amount: Decimal, day: date) -> None:
        """Goods came in."""
        self.at.run("erp", "insert into receipts values (%s, %s, %s, %s)", f"R-{self.at.next():06d}", sku, amount, day)
        self.at.ledger.on_hand[sku] += amount
        self.at.did("erp: goods received")
