"""The independent ledger: what the business did, and what every system must therefore show.

It knows nothing of Sorbus: facts.py and this import only Python's standard library. Amounts are euros, exact to the
cent; who acts in a system (business.py) tells the ledger afterwards. `expected` gives every relation as key -> values,
all text.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal

from sorbus.ops.demo.year.facts import Customer, Employee, Invoice, Line, Order, Payment, Product, WorkItem

Rows = dict[str, tuple[str, ...]]
"""A relation: key -> values in a fixed order."""

STATUS = {"lead": "PROSPECT", "active": "ACTIVE", "closed": "INACTIVE"}
_CENT = Decimal("0.01")
_DECIMALS = re.compile(r"\d+\.\d+")


def cents(amount: Decimal) -> Decimal:
    """Rounded to the cent, halves away from zero."""
    return amount.quantize(_CENT, ROUND_HALF_UP)


def trimmed(text: str) -> str:
    """Numbers in a text without trailing zeros, so that 12.50 and 12.5000 are one; no digit that counts is lost."""
    return _DECIMALS.sub(lambda found: found[0].rstrip("0").rstrip("."), text)


@dataclass
class Ledger:
    """Everything that happened since the first of January."""

    customers: dict[int, Customer] = field(default_factory=dict)
    products: dict[str, Product] = field(default_factory=dict)
    orders: dict[int, Order] = field(default_factory=dict)
    invoices: dict[str, Invoice] = field(default_factory=dict)
    payments: dict[str, Payment] = field(default_factory=dict)
    projects: dict[int, tuple[str, str, int]] = field(default_factory=dict)
    work: dict[int, WorkItem] = field(default_factory=dict)
    tickets: dict[int, tuple[str, int, str, int]] = field(default_factory=dict)
    employees: dict[str, Employee] = field(default_factory=dict)
    on_hand: dict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    rates: dict[date, tuple[Decimal, Decimal]] = field(default_factory=dict)
    events: int = 0

    def ship(self, order: Order, day: date) -> Invoice:
        """The order left the house, and was invoiced."""
        order.shipped_on = day
        lines = []
        for line in order.lines:
            self.on_hand[line.sku] -= line.quantity
            net = cents(line.quantity * line.price * (1 - line.discount))
            lines.append((line.sku, net, cents(net * line.vat)))
        return self._invoice(f"INV-{order.number}", order.customer, day, lines, None)

    def complete(self, item: WorkItem, hours: Decimal, day: date) -> Invoice:
        """The work was done, and was invoiced at the rate of that day."""
        item.hours, item.done_on = hours, day
        rate, vat = self.rates[max(since for since in self.rates if since <= day)]
        net = cents(hours * rate)
        return self._invoice(f"INV-W{item.id}", item.customer, day, [(item.title, net, cents(net * vat))], item.project)

    def pay(self, payment: Payment) -> None:
        """Money came in."""
        self.payments[payment.number] = payment
        for number, amount in payment.allocations:
            self.invoices[number].paid += amount

    def _invoice(
        self, number: str, customer: int, day: date, lines: list[tuple[str, Decimal, Decimal]], project: int | None
    ) -> Invoice:
        due = day + timedelta(self.customers[customer].terms)
        self.invoices[number] = Invoice(number, customer, day, due, lines, project)
        return self.invoices[number]

    def expected(self) -> dict[str, Rows]:
        """SYSTEM.RELATION -> what the system must show there now."""
        customers, invoices = self._customers(), self._invoices()
        payments, orders = self._payments(), self._orders()
        deliveries, stock = self._deliveries(), self._stock()
        products = {one.sku: (one.name, str(one.price), f"{one.vat}") for one in self.products.values()}
        projects = {str(id): (code, name, str(customer)) for id, (code, name, customer) in self.projects.items()}
        employees, members = self._employees()
        books = self._books()
        return _trimmed(
            {
                **_same(customers, "accounting", "erp", "projects", "support", "mailing", "reporting", of="customers"),
                "mailing.customers": {
                    str(one.id): (one.number, one.name, one.email)
                    for one in self.customers.values()
                    if one.stage == "active" and one.newsletter
                },
                **_same(products, "share", "crm", "erp", "reporting", of="products"),
                **_same(orders, "erp", "reporting", of="orders"),
                **_same(stock, "erp", "crm", "reporting", of="stock"),
                **_same(deliveries, "erp", "crm", "reporting", of="deliveries"),
                **_same(invoices, "erp", "accounting", "crm", "reporting", of="invoices"),
                "projects.invoices": {
                    key: invoices[key] for key, one in self.invoices.items() if one.project is not None
                },
                **_same(self._invoice_lines(), "erp", "accounting", "reporting", of="invoice_lines"),
                **_same(payments, "accounting", "erp", "crm", "projects", "reporting", of="payments"),
                **_same(projects, "projects", "reporting", of="projects"),
                **_same(self._work(), "projects", "erp", "reporting", of="work"),
                **_same(self._tickets(), "support", "reporting", of="tickets"),
                **_same(members, "hr", "projects", "reporting", of="employees"),
                "directory.employees": employees,
                **_same(books, "erp", "accounting", "crm", "reporting", of="month_end"),
                **_same(self._balances(), "crm", "reporting", of="balances"),
                "projects.month_end": self._project_balances(),
            }
        )

    def _customers(self) -> Rows:
        return {str(one.id): (one.number, one.name, one.email, STATUS[one.stage]) for one in self.customers.values()}

    def _orders(self) -> Rows:
        states = {"placed": "PLACED", "confirmed": "CONFIRMED", "cancelled": "CANCELLED"}
        return {
            str(one.id): (one.number, str(one.customer), states[one.state], _lines(one.lines))
            for one in self.orders.values()
        }

    def _deliveries(self) -> Rows:
        """Of orders that aren't cancelled: whether one that was had a delivery first depends on who was faster."""
        return {
            f"DL-{one.number}": (
                str(one.id),
                "SHIPPED" if one.shipped_on else "PLANNED",
                one.shipped_on.isoformat() if one.shipped_on else "",
            )
            for one in self.orders.values()
            if one.state == "confirmed"
        }

    def _stock(self) -> Rows:
        reserved: dict[str, Decimal] = defaultdict(Decimal)
        for order in self.orders.values():
            if order.state == "confirmed" and order.shipped_on is None:
                for line in order.lines:
                    reserved[line.sku] += line.quantity
        return {sku: (str(there), str(reserved[sku])) for sku, there in self.on_hand.items()}

    def _invoices(self) -> Rows:
        return {
            number: (
                str(one.customer), one.issued_on.isoformat(), one.due_on.isoformat(), str(one.net), str(one.tax),
                str(one.total), str(one.paid), one.status,
            )
            for number, one in self.invoices.items()
        }  # fmt: skip

    def _invoice_lines(self) -> Rows:
        return {
            number: (" ".join(f"{net}+{tax}" for _, net, tax in one.lines),) for number, one in self.invoices.items()
        }

    def _payments(self) -> Rows:
        return {
            number: (
                one.booked_on.isoformat(),
                str(one.amount),
                " ".join(f"{invoice}={amount}" for invoice, amount in sorted(one.allocations)),
            )
            for number, one in self.payments.items()
        }

    def _work(self) -> Rows:
        return {
            str(one.id): (
                str(one.project),
                one.title,
                "" if one.hours is None else f"{one.hours}",
                one.done_on.isoformat() if one.done_on else "",
            )
            for one in self.work.values()
        }

    def _tickets(self) -> Rows:
        return {
            str(id): (subject, str(customer), {"open": "OPEN", "done": "RESOLVED"}[status], f"{minutes / 60:.2f}")
            for id, (subject, customer, status, minutes) in self.tickets.items()
        }

    def _employees(self) -> tuple[Rows, Rows]:
        """In the directory, where who is gone keeps a marked entry; and in the other systems."""

        def row(one: Employee) -> tuple[str, ...]:
            status = "LEFT" if one.left_on else "ACTIVE"
            return (f"{one.given} {one.family}", one.user, one.email, one.title, one.department, status)

        directory = {
            one.number: (*row(one)[:5], "left" if one.removed else row(one)[5], one.manager or "")
            for one in self.employees.values()
        }
        return directory, {one.number: row(one) for one in self.employees.values() if not one.removed}

    def _books(self) -> Rows:
        """The month-end report: what was sold each month, and what is owed, by customer and in all."""
        months: dict[str, list[Invoice]] = defaultdict(list)
        owed: dict[int, Decimal] = defaultdict(Decimal)
        for one in self.invoices.values():
            months[one.issued_on.isoformat()[:7]].append(one)
            owed[one.customer] += one.total - one.paid
        rows = {
            f"sold {month}": (
                str(len(of)), *(str(sum(map(get, of), Decimal(0))) for get in (_net, _tax, _total))
            )
            for month, of in months.items()
        }  # fmt: skip
        rows |= {f"owed by {customer}": (str(amount),) for customer, amount in owed.items() if amount}
        rows["owed"] = (str(sum(owed.values(), Decimal(0))),)
        return rows

    def _balances(self) -> Rows:
        """Customer -> paid, in how many payments."""
        paid: dict[int, list[Decimal]] = defaultdict(list)
        for one in self.payments.values():
            paid[self.invoices[one.allocations[0][0]].customer].append(one.amount)
        return {str(id): (str(sum(amounts, Decimal(0))), str(len(amounts))) for id, amounts in paid.items()}

    def _project_balances(self) -> Rows:
        """Project -> invoiced, paid."""
        rows: dict[int, list[Decimal]] = defaultdict(lambda: [Decimal(0), Decimal(0)])
        for one in self.invoices.values():
            if one.project is not None:
                rows[one.project][0] += one.total
                rows[one.project][1] += one.paid
        return {str(id): (str(invoiced), str(paid)) for id, (invoiced, paid) in rows.items()}


def _net(one: Invoice) -> Decimal:
    return one.net


def _tax(one: Invoice) -> Decimal:
    return one.tax


def _total(one: Invoice) -> Decimal:
    return one.total


def _trimmed(relations: dict[str, Rows]) -> dict[str, Rows]:
    return {name: {key: tuple(map(trimmed, row)) for key, row in rows.items()} for name, rows in relations.items()}


def _same(rows: Mapping[str, tuple[str, ...]], *systems: str, of: str) -> dict[str, Rows]:
    return {f"{system}.{of}": dict(rows) for system in systems}


def _lines(lines: Iterable[Line]) -> str:
    return " ".join(f"{line.number}:{line.sku}:{line.quantity}x{line.price}-{line.discount}" for line in lines)


@dataclass(frozen=True)
class Difference:
    """`key` of a relation: what the system shows (None: nothing) and what it should."""

    relation: str
    key: str
    found: tuple[str, ...] | None
    wanted: tuple[str, ...] | None

    def __str__(self) -> str:
        if self.found is None:
            return f"{self.relation} {self.key} is missing: {self.wanted}"
        if self.wanted is None:
            return f"{self.relation} {self.key} shouldn't be there: {self.found}"
        return f"{self.relation} {self.key} is {self.found}, not {self.wanted}"


def differences(
    wanted: Mapping[str, Rows], read: Callable[[str], Rows], relations: Iterable[str] | None = None
) -> list[Difference]:
    """What systems show otherwise than the ledger; `read` gives a relation as its system shows it."""
    found = []
    for relation in relations if relations is not None else wanted:
        there, should = read(relation), wanted[relation]
        found += [
            Difference(relation, key, there.get(key), should.get(key))
            for key in sorted(there.keys() | should.keys())
            if there.get(key) != should.get(key)
        ]
    return found
