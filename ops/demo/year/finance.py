"""What finance does in accounting: the bank's statements are booked."""

from __future__ import annotations

import random
from collections import defaultdict
from datetime import date, timedelta
from decimal import Decimal

from sorbus.ops.demo.year.facts import Invoice, Payment
from sorbus.ops.demo.year.workplace import Workplace


class Finance:
    """`is_open`: False while accounting can't be worked with."""

    def __init__(self, at: Workplace) -> None:
        self.at, self.is_open = at, True
        self._to_pay: list[tuple[int, Invoice, Decimal]] = []

    def expect(self, invoice: Invoice, place: int) -> None:
        """At once, in two parts, late, or not this year; a thing of the invoice, not of when it was booked."""
        chance = random.Random(f"{self.at.seed} {invoice.number}")
        week = place + chance.choice((1, 2, 3, 5, 8))
        if chance.random() < 0.12:
            return
        first = invoice.total
        if chance.random() < 0.15:
            first = (invoice.total / 3).quantize(Decimal("0.01"))
        for later, amount in ((0, first), (2, invoice.total - first)):
            if amount > 0:
                self._to_pay.append((week + later, invoice, amount))

    def week(self, monday: date, place: int) -> None:
        """The bank's statement is booked: one entry for each customer and week, on the day it came."""
        if not self.is_open:
            return
        paid: dict[tuple[int, int], list[tuple[str, Decimal]]] = defaultdict(list)
        for due, invoice, amount in self._to_pay:
            if due <= place:
                paid[due, invoice.customer].append((invoice.number, amount))
        self._to_pay = [one for one in self._to_pay if one[0] > place]
        statements = []
        for (_, customer), allocations in sorted(paid.items()):
            payment = Payment(f"B-{self.at.next():06d}", monday + timedelta(6), tuple(allocations))
            statements.append(
                "start transaction;"
                f"insert into bank_entries values ('{payment.number}', {customer}, '{payment.booked_on}',"
                f" {payment.amount}, 'EUR', 'Customer {customer}');"
                + "".join(
                    f"insert into bank_allocations values ('{payment.number}', {line}, '{number}', {amount});"
                    for line, (number, amount) in enumerate(allocations, 1)
                )
                + "commit;"
            )
            self.at.ledger.pay(payment)
            self.at.did("accounting: payment")
        if statements:
            self.at.books("\n".join(statements))
