"""What the ledger holds: the company's customers, orders, invoices and so on, as people know them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal


@dataclass
class Customer:
    """Whom the company sells to."""

    id: int
    number: str
    name: str
    email: str
    country: str
    stage: str
    terms: int
    newsletter: bool


@dataclass
class Product:
    """What the price list says."""

    sku: str
    name: str
    price: Decimal
    vat: Decimal


@dataclass(frozen=True)
class Line:
    """Of an order."""

    number: int
    sku: str
    quantity: Decimal
    price: Decimal
    discount: Decimal
    vat: Decimal


@dataclass
class Order:
    """placed, confirmed, shipped or cancelled."""

    id: int
    number: str
    customer: int
    state: str
    ordered_on: date
    lines: list[Line]
    shipped_on: date | None = None


@dataclass
class Invoice:
    """`project`: of work."""

    number: str
    customer: int
    issued_on: date
    due_on: date
    lines: list[tuple[str, Decimal, Decimal]]
    project: int | None = None
    paid: Decimal = Decimal(0)

    @property
    def net(self) -> Decimal:
        """Before tax."""
        return sum((net for _, net, _ in self.lines), Decimal(0))

    @property
    def tax(self) -> Decimal:
        """The tax alone."""
        return sum((tax for *_, tax in self.lines), Decimal(0))

    @property
    def total(self) -> Decimal:
        """With tax."""
        return self.net + self.tax

    @property
    def status(self) -> str:
        """As the canonical invoice says it."""
        return "PAID" if self.paid >= self.total else "PARTLY_PAID" if self.paid > 0 else "SENT"


@dataclass(frozen=True)
class Payment:
    """A bank entry, and what of it goes to which invoice."""

    number: str
    booked_on: date
    allocations: tuple[tuple[str, Decimal], ...]

    @property
    def amount(self) -> Decimal:
        """All of it."""
        return sum((amount for _, amount in self.allocations), Decimal(0))


@dataclass
class WorkItem:
    """Of a project; done once `hours` are known."""

    id: int
    project: int
    customer: int
    title: str
    staff: str
    hours: Decimal | None = None
    done_on: date | None = None


@dataclass
class Employee:
    """`left_on`: has left; gone from HR's table once `removed`."""

    number: str
    given: str
    family: str
    user: str
    title: str
    department: str
    manager: str | None
    left_on: date | None = None
    removed: bool = False

    @property
    def email(self) -> str:
        """At work."""
        return f"{self.user}@brightwater.example"
