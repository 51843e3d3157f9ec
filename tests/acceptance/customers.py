"""The CRM's customers on their way into a real application that has most of them already, put there by hand."""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

from tests.acceptance.office import Office, Row, execute, rows_of, unlike

SHEETS = Path(__file__).parents[2] / "examples" / "saas" / "mappings"
BY_HAND = int(os.environ.get("SORBUS_TEST_BY_HAND", "500"))
NEW = 20
CRM_TABLE = """
create table customers (id text primary key, name text not null, email text, tax_number text, phone text,
                        contact_name text, city text, postcode text, changed_by_us int not null default 0)
"""
CRM_ROWS: list[Row] = [
    ("crm", f"customers.{column}", "canonical", f"customer.{field}", "")
    for column, field in {
        "name": "name",
        "email": "email",
        "tax_number": "tax_number",
        "phone": "phone",
        "contact_name": "contact_name",
        "city": "billing_address_city",
        "postcode": "billing_address_postal_code",
    }.items()
]
_FIRST = [
    "Amber",
    "Birch",
    "Cedar",
    "Dover",
    "Ember",
    "Falcon",
    "Garnet",
    "Harbour",
    "Indigo",
    "Juniper",
    "Kestrel",
    "Lavender",
    "Marble",
    "Nimbus",
    "Orchid",
    "Pewter",
    "Quarry",
    "Russet",
    "Saffron",
    "Thistle",
    "Umber",
    "Velvet",
    "Walnut",
    "Zephyr",
]
_SECOND = [
    "Analytics",
    "Bakeries",
    "Carpentry",
    "Dental",
    "Engineering",
    "Fisheries",
    "Glassworks",
    "Haulage",
    "Instruments",
    "Joinery",
    "Kitchens",
    "Logistics",
    "Motors",
    "Nurseries",
    "Optics",
    "Plumbing",
    "Quilting",
    "Robotics",
    "Stationers",
    "Textiles",
    "Upholstery",
    "Vineyards",
    "Weaving",
    "Yachts",
]
NAMES = [f"{first} {second}" for first, second in product(_FIRST, _SECOND)]


class Customer(NamedTuple):
    """A customer as the CRM has it."""

    id: str
    name: str
    email: str
    phone: str
    contact_name: str
    city: str
    postcode: str


def customer(number: int, mark: str) -> Customer:
    """A customer like no other; `mark` keeps runs apart."""
    name = NAMES[(number * 37) % len(NAMES)]
    return Customer(
        f"{mark}-{number}",
        f"{name} {mark[-4:]}",
        f"{name.replace(' ', '.').lower()}.{mark}@example.test",
        f"+49 221 {100000 + number}",
        f"{name.split()[0]} Contact",
        ("Köln", "Gdańsk", "Porto", "Århus")[number % 4],
        f"{10000 + number}",
    )


class Application(NamedTuple):
    """A real application as the scenario needs it; `read` and `wanted` go by the customer's e-mail or name."""

    name: str
    system: Mapping[str, object]
    target: Mapping[str, object]
    match: Sequence[str]
    by_hand: Callable[[Sequence[Customer]], None]
    read: Callable[[], Mapping[str, Mapping[str, object]]]
    count: Callable[[], int]
    """How many records of this run it has, doubles included, as it counts itself."""
    wanted: Callable[[Mapping[str, object]], tuple[str, Mapping[str, object]]]
    """A CRM row -> key and what the application must have of it."""


class Figures(NamedTuple):
    """Seconds: until all were linked or made, and until all changes had followed."""

    reached: float
    followed: float

    def __str__(self) -> str:
        return (
            f"{BY_HAND} linked and {NEW} made in {self.reached:.0f} s, none doubled;"
            f" updates, deletes and new ones followed in {self.followed:.0f} s"
        )


def sheet(name: str, data_type: str) -> list[Row]:
    """The rows of an example's sheet about one data type."""
    with (SHEETS / f"{name}.csv").open(encoding="utf-8-sig", newline="") as file:
        found = [(row[0], row[1], row[2], row[3], row[4]) for row in csv.reader(file) if len(row) > 4]
    beginning = f"{data_type}."
    resources = {row[3].partition(".")[0] for row in found if row[1].startswith(beginning)}
    constant = [row for row in found if row[0] == "canonical" and not row[1]]
    return [
        *(row for row in found if row[1].startswith(beginning) or row[3].startswith(beginning)),
        *(row for row in constant if row[3].partition(".")[0] in resources),
    ]


def office_map(application: Application, more: Mapping[str, object] | None = None) -> dict[str, object]:
    """The CRM, the application, and the flow between them; `more` is merged in."""
    made: dict[str, object] = {
        "systems": {
            "crm": {"kind": "postgres", "connection": {"dsn": "${CRM_DSN}"}, "owner": "Sales"},
            application.name: application.system,
        },
        "data_types": {
            "customer": {
                "system_of_record": "crm",
                "source": {"table": "customers"},
                "match": list(application.match),
                "partitions": 2,
            }
        },
        "flows": [{"data_type": "customer", "to": application.name, "target": application.target}],
    }
    for key, value in (more or {}).items():
        there = made.get(key, {})
        made[key] = {**there, **value} if isinstance(there, dict) and isinstance(value, dict) else value
        if key == "flows" and isinstance(there, list) and isinstance(value, list):
            made[key] = [*there, *value]
    return made


def follow(office: Office, application: Application, mark: str) -> Figures:
    """Lets the customers reach the application, which has most of them, and changes follow. `office` is applied."""
    crm = office.env["CRM_DSN"]
    before = application.count()
    everyone = [customer(number, mark) for number in range(BY_HAND + NEW)]
    application.by_hand(everyone[:BY_HAND])
    assert application.count() == before + BY_HAND
    _insert(crm, everyone)

    def missing() -> str:
        wanted = dict(application.wanted(row) for row in rows_of(crm, "select * from customers"))
        return unlike(application.read(), wanted)

    with office.up():
        reached = office.until(missing, seconds=420, every=1.0)
        assert application.count() == before + BY_HAND + NEW, "some were doubled"
        began = time.monotonic()
        execute(
            crm,
            "update customers set phone = '+44 20 7946 0' || right(postcode, 3), changed_by_us = 1,"
            " name = name || ' Renamed' where postcode::int % 13 = 0",
            "delete from customers where postcode::int % 53 = 0",
        )
        _insert(crm, [customer(number, mark) for number in range(BY_HAND + NEW, BY_HAND + 2 * NEW)])
        office.until(missing, seconds=300, every=1.0)
        followed = time.monotonic() - began
    assert office.said("is a dead letter") == 0, office.last_words()
    return Figures(reached, followed)


def _insert(dsn: str, customers: Sequence[Customer]) -> None:
    import psycopg

    with psycopg.connect(dsn) as connection, connection.cursor() as cursor:
        cursor.executemany(
            "insert into customers (id, name, email, phone, contact_name, city, postcode)"
            " values (%s, %s, %s, %s, %s, %s, %s)",
            [tuple(one) for one in customers],
        )
