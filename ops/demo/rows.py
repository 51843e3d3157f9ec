"""Rows for the CRM's tables, made by chance but the same each time for the same random generator."""

from __future__ import annotations

import datetime as dt
import json
import unicodedata
from collections.abc import Sequence
from decimal import Decimal
from random import Random

from sorbus.ops.demo import vocabulary as words

Row = dict[str, object]
"""Column -> value, in the order of the columns to fill."""

Priced = tuple[int, Decimal]
"""A product to order: its id and list price."""

_EPOCH = dt.datetime(2024, 1, 8, 8, 0, tzinfo=dt.UTC)


def employee(chance: Random, number: int, managers: Sequence[int]) -> Row:
    """Employee `number` (from 1), who reports to one of `managers`."""
    first, last = chance.choice(words.GIVEN_NAMES), chance.choice(words.FAMILY_NAMES)
    hired = _EPOCH.date() - dt.timedelta(days=chance.randrange(4000))
    left = hired + dt.timedelta(days=chance.randrange(200, 1000)) if chance.random() < 0.08 else None
    return {
        "staff_no": f"S{number:04}",
        "first_name": first,
        "last_name": last,
        "job_title": chance.choice(words.JOBS),
        "team": chance.choice(words.TEAMS),
        "site": chance.choice(words.SITES),
        "work_email": f"{_plain(first)}.{_plain(last)}{number}@Brightwater.example",
        "extension": f"{100 + number}",
        "reports_to": chance.choice(managers) if managers else None,
        "hired_on": hired,
        "left_on": left,
        "born_on": dt.date(1960, 1, 1) + dt.timedelta(days=chance.randrange(15000)),
        "weekly_hours": chance.choice([Decimal("40.0"), Decimal("37.5"), Decimal("20.0")]),
        # Larger than a page, so that PostgreSQL keeps it outside the row and leaves it out of an update's message.
        "portrait": chance.randbytes(12_000) if number % 4 == 0 else None,
        "created_at": moment(chance),
    }


def customer(chance: Random, number: int, managers: Sequence[int]) -> Row:
    """Customer `number` (from 1), looked after by one of the employees `managers`."""
    town = chance.choice(words.TOWNS)
    first, last = chance.choice(words.GIVEN_NAMES), chance.choice(words.FAMILY_NAMES)
    company = f"{last} {chance.choice(words.TRADES)}" if chance.random() < 0.85 else None
    return {
        "customer_no": f"C-{10_000 + number}",
        "company": company,
        "contact_first": first,
        "contact_last": last,
        "contact_role": chance.choice(words.ROLES) if company else None,
        "stage": chance.choices(["lead", "active", "on hold", "closed"], [3, 12, 1, 1])[0],
        "vat_id": f"{town.language.upper()} {chance.randrange(10**8, 10**9)}" if company else None,
        "email": f" {_plain(first)}@{_plain(last)}{number}.example" if chance.random() < 0.9 else None,
        "phone": f"{town.dial} {chance.randrange(10**5, 10**6)}",
        "website": f"https://{_plain(last)}{number}.example" if company else None,
        "language": town.language,
        "currency": town.currency,
        "terms": chance.choice(words.TERMS),
        "credit_limit": Decimal(chance.randrange(5, 200) * 500) if company else None,
        "account_manager": chance.choice(managers),
        **address(chance, town),
        "labels": sorted(chance.sample(words.LABELS, chance.randrange(3))),
        "preferences": json.dumps({"newsletter": chance.random() < 0.5, "visits": chance.randrange(4)}),
        "notes": note(chance),
        "created_at": moment(chance),
    }


def address(chance: Random, town: words.Town | None = None) -> Row:
    """The billing address columns of a customer."""
    town = town or chance.choice(words.TOWNS)
    return {
        "street": f"{chance.choice(words.STREETS)} {chance.randrange(1, 200)}",
        "street2": f"{chance.randrange(1, 9)}. floor" if chance.random() < 0.2 else None,
        "town": town.name,
        "county": town.county,
        "postcode": town.postcode,
        "country": town.country,
    }


def product(chance: Random, number: int) -> Row:
    """Product `number` (from 1)."""
    family = chance.choice(words.FAMILIES)
    service = family == "Services"
    cost = Decimal(chance.randrange(2_000, 900_000)) / 10_000
    title = f"{'Repair of ' if service else ''}{chance.choice(words.THINGS)}, {chance.choice(words.FINISHES)}"
    details = {"colour": chance.choice(words.FINISHES), "pieces": chance.randrange(1, 500)}
    return {
        "sku": f"{family[:3].upper()}-{number:05}",
        "title": title,
        "blurb": f"{title}. {note(chance) or ''}".strip(),
        "family": family,
        "is_service": service,
        "ean": None if service else f"{chance.randrange(10**12, 10**13)}",
        "unit": "h" if service else chance.choices(["pc", "kg", "m"], [8, 1, 1])[0],
        "list_price": (cost * Decimal("1.6")).quantize(Decimal("0.01")),
        "cost": cost,
        "currency": "EUR",
        "vat_percent": chance.choice([Decimal("19.0"), Decimal("7.0")]),
        "weight_grams": None if service else chance.randrange(5, 25_000),
        "details": json.dumps(details),
        "labels": sorted(chance.sample(words.LABELS, chance.randrange(2))),
        "withdrawn_on": _EPOCH.date() if chance.random() < 0.05 else None,
        "created_at": moment(chance),
    }


def order(chance: Random, number: int, customers: Sequence[int], employees: Sequence[int]) -> Row:
    """Order `number` (from 1) of one of `customers`, taken by one of `employees`."""
    placed = moment(chance)
    state = chance.choices(["quote", "placed", "confirmed", "shipped", "done", "cancelled"], [1, 3, 3, 4, 8, 1])[0]
    elsewhere = chance.choice(words.TOWNS) if chance.random() < 0.25 else None
    return {
        "order_no": f"SO-{100_000 + number}",
        "customer_id": chance.choice(customers),
        "taken_by": chance.choice(employees),
        "their_reference": f"PO {chance.randrange(1000, 9999)}" if chance.random() < 0.4 else None,
        "state": state,
        "channel": chance.choice(words.CHANNELS),
        "placed_at": placed,
        "wanted_on": placed.date() + dt.timedelta(days=chance.randrange(2, 30)),
        "shipped_on": placed.date() + dt.timedelta(days=3) if state in ("shipped", "done") else None,
        "carrier": chance.choice(words.CARRIERS),
        "ship_name": f"{chance.choice(words.FAMILY_NAMES)} {chance.choice(words.TRADES)}" if elsewhere else None,
        "ship_street": f"{chance.choice(words.STREETS)} {chance.randrange(1, 200)}" if elsewhere else None,
        "ship_town": elsewhere.name if elsewhere else None,
        "ship_postcode": elsewhere.postcode if elsewhere else None,
        "ship_country": elsewhere.country if elsewhere else None,
        "currency": "EUR",
        "freight": Decimal(chance.randrange(0, 5000)) / 100 if chance.random() < 0.8 else None,
        "remarks": chance.choice(words.REMARKS),
    }


def order_line(chance: Random, order_id: int, line_number: int, products: Sequence[Priced]) -> Row:
    """A line of an order for one of `products` (id, list price)."""
    product_id, price = chance.choice(products)
    return {
        "order_id": order_id,
        "line_number": line_number,
        "product_id": product_id,
        "wording": f"as agreed, lot {chance.randrange(100)}" if chance.random() < 0.2 else None,
        "quantity": chance.choice([Decimal(chance.randrange(1, 40)), Decimal(chance.randrange(100, 9000)) / 1000]),
        "unit_price": price,
        "discount_percent": chance.choice([Decimal(0), Decimal(0), Decimal(5), Decimal("7.5")]),
    }


def note(chance: Random) -> str | None:
    """What somebody wrote down: nothing, a line, or (one in forty) pages of it."""
    if chance.random() < 0.025:
        return "\n".join(f"Visit {n}: {chance.randbytes(60).hex()}" for n in range(100))
    return chance.choice(words.REMARKS)


def moment(chance: Random) -> dt.datetime:
    """A moment in the demo company's past, to the microsecond."""
    return _EPOCH - dt.timedelta(seconds=chance.randrange(60_000_000), microseconds=chance.randrange(1_000_000))


def _plain(name: str) -> str:
    """A name as it stands in an address: letters of ASCII, lower case."""
    folded = unicodedata.normalize("NFKD", name.lower())
    return "".join(letter for letter in folded if letter.isascii() and letter.isalpha()) or "x"
