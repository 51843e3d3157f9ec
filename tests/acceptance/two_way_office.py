"""A CRM, books that round and trim, and a support desk that change the same customers, and the people who do it.

The ledger notes what people did in SQL's own words: no code of Sorbus.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest

from sorbus.ops.embedded import Addresses
from tests.acceptance.office import Office, Row, rows_of
from tests.replication_slots import drop_slots

NUMBER = {"type": "bytes", "logicalType": "decimal", "precision": 19, "scale": 4}
SCHEMA: list[object] = [
    {"name": "name", "type": "string"},
    {"name": "email", "type": ["null", "string"], "default": None},
    {"name": "phone", "type": ["null", "string"], "default": None},
    {"name": "rate", "type": ["null", NUMBER], "default": None},
    {"name": "tags", "type": {"type": "array", "items": "string"}, "default": []},
    {"name": "credit", "type": ["null", NUMBER], "default": None},
]
CRM = """
create table customers (id text primary key, name text not null, email text, phone text, rate numeric(19, 4),
                        tags text[] not null default '{}', credit numeric(19, 4), since timestamptz default now())
"""
# The books keep two decimal places, no spaces around, and twelve characters of a phone number.
BOOKS = """
create table partners (code text primary key, title text not null, mail text, tel text, rate numeric,
                       labels text[] not null default '{}', "limit" numeric(19, 4) not null default 100);
create function as_we_keep_it() returns trigger language plpgsql as $$
begin
    new.rate = round(new.rate, 2);
    new.tel = left(trim(new.tel), 12);
    new.mail = lower(trim(new.mail));
    return new;
end $$;
create trigger as_we_keep_it before insert or update on partners for each row execute function as_we_keep_it();
"""
SUPPORT = """
create table contacts (id text primary key, name text not null, email text, phone text, rate numeric(19, 4),
                       tags text[] not null default '{}', credit numeric(19, 4))
"""
SHEET: list[Row] = [
    ("canonical", "customer.name", "books", "title", ""),
    ("canonical", "customer.email", "books", "mail", ""),
    ("books", "mail", "canonical", "customer.email", ""),
    ("canonical", "customer.phone", "books", "tel", ""),
    ("books", "tel", "canonical", "customer.phone", ""),
    ("canonical", "customer.rate", "books", "rate", ""),
    ("books", "rate", "canonical", "customer.rate", ""),
    ("canonical", "customer.tags", "books", "labels", ""),
    ("books", "labels", "canonical", "customer.tags", ""),
    ("books", "limit", "canonical", "customer.credit", ""),
    *(("canonical", f"customer.{name}", "support", name, "") for name in ("name", "email", "phone", "rate", "tags")),
    ("canonical", "customer.credit", "support", "credit", ""),
    *(("support", name, "canonical", f"customer.{name}", "") for name in ("email", "phone", "rate", "tags")),
    *(("canonical", f"customer.{name}", "crm", name, "") for name in ("email", "phone", "rate", "tags", "credit")),
]


class Place(NamedTuple):
    """A system: how its table calls the record, and what people change there."""

    table: str
    key: str
    columns: dict[str, str]
    """Canonical field -> column."""


PLACES = {
    "crm": Place(
        "customers",
        "id",
        {name: name for name in ("name", "email", "phone", "rate", "tags")},
    ),
    "books": Place(
        "partners", "code", {"email": "mail", "phone": "tel", "rate": "rate", "tags": "labels", "credit": '"limit"'}
    ),
    "support": Place("contacts", "id", {name: name for name in ("email", "phone", "rate", "tags")}),
}


class Edit(NamedTuple):
    """What a person did to a field, and what the system kept of it."""

    at: float
    system: str
    value: object


@dataclass
class Ledger:
    """What people did, by record and field."""

    edits: dict[tuple[str, str], list[Edit]] = field(default_factory=dict)
    tags: dict[str, set[str]] = field(default_factory=dict)
    removed: dict[str, set[str]] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    count: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, id: str, name: str, edit: Edit) -> None:
        with self.lock:
            self.count += 1
            self.edits.setdefault((id, name), []).append(edit)


class Person:
    """Somebody who works in one system."""

    def __init__(self, system: str, dsn: str, ledger: Ledger, seed: int) -> None:
        self.system, self.place, self.ledger = system, PLACES[system], ledger
        self.session = psycopg.connect(dsn, autocommit=True)
        self.chance, self.next = random.Random(seed), 0

    def work(self, ids: list[str], changes: int, pause: float = 0.0) -> None:
        for _ in range(changes):
            self.one(self.chance.choice(ids))
            if pause:
                time.sleep(pause)  # people aren't faster

    def one(self, id: str) -> None:
        name = self.chance.choice(list(self.place.columns))
        if name == "tags":
            self.tag(id)
            return
        self.next += 1
        value: object = {
            "rate": round(self.chance.uniform(0, 100), 4),
            "credit": self.chance.randint(1, 10_000),
            "phone": f"  +49 {self.chance.randint(10**6, 10**10)} {self.next}",
        }.get(name, f"{self.system}-{self.next}-{self.chance.randint(0, 10**6)}@Example.COM ")
        place = self.place
        statement = (
            f"update {place.table} set {place.columns[name]} = %s where {place.key} = %s"
            f" returning {place.columns[name]}, extract(epoch from clock_timestamp())"
        )
        row = self.session.execute(statement.encode(), [value, id]).fetchone()
        if row is not None:
            self.ledger.note(id, name, Edit(float(row[1]), self.system, row[0]))

    def tag(self, id: str) -> None:
        """Adds a tag that nobody else adds, or takes one away that is there."""
        place, column = self.place, self.place.columns["tags"]
        if self.chance.random() < 0.6:
            self.next += 1
            tag = f"{self.system}{self.next}"
            made = f"update {place.table} set {column} = array_append({column}, %s) where {place.key} = %s"
            if self.session.execute(made.encode(), [tag, id]).rowcount:
                with self.ledger.lock:
                    self.ledger.count += 1
                    self.ledger.tags.setdefault(id, set()).add(tag)
            return
        taken = (
            f"with old as (select {place.key} as key, {column}[1] as tag from {place.table} where {place.key} = %s"
            f" and cardinality({column}) > 0 for update) update {place.table} t"
            f" set {column} = array_remove({column}, old.tag) from old where t.{place.key} = old.key returning old.tag"
        )
        row = self.session.execute(taken.encode(), [id]).fetchone()
        if row is not None:
            with self.ledger.lock:
                self.ledger.count += 1
                self.ledger.removed.setdefault(id, set()).add(str(row[0]))


class TwoWayOffice(Office):
    """A CRM, books and a support desk that change the same customers."""

    dsns: dict[str, str]

    def rows(self, system: str) -> dict[str, dict[str, object]]:
        place = PLACES[system]
        found = rows_of(self.dsns[system], f"select * from {place.table}")
        return {str(row.pop(place.key)): row for row in found}

    def unlike(self) -> str:
        """What differs between the systems: each as it keeps values."""
        crm, books, support = (self.rows(name) for name in ("crm", "books", "support"))
        lines = [f"{id} is not in all systems" for id in (crm.keys() ^ books.keys()) | (crm.keys() ^ support.keys())]
        for id in crm.keys() & books.keys() & support.keys():
            one, two, three = crm[id], books[id], support[id]
            lines += [
                f"{id}: {name} is {one[name]!r} in crm and {three[name]!r} in support"
                for name in ("name", "email", "phone", "rate", "tags", "credit")
                if one[name] != three[name]
            ]
            kept = {
                "title": one["name"],
                "mail": None if one["email"] is None else str(one["email"]).strip().lower(),
                "tel": None if one["phone"] is None else str(one["phone"]).strip()[:12],
                "rate": None if one["rate"] is None else one["rate"].quantize(Decimal("0.01"), ROUND_HALF_UP),  # type: ignore[attr-defined]
                "labels": one["tags"],
                "limit": one["credit"],
            }
            lines += [
                f"{id}: {name} is {two[name]!r} in books, not {value!r}"
                for name, value in kept.items()
                if two[name] != value
            ]
        return "\n".join([f"{len(lines)} differences, the first:", *lines[:8]]) if lines else ""


@pytest.fixture
def office(
    stack: Addresses, make_database: Callable[[str], str], unique: str, tmp_path: Path
) -> Iterator[TwoWayOffice]:
    made = {"crm": make_database(CRM), "books": make_database(BOOKS), "support": make_database(SUPPORT)}
    state = make_database("select 1")
    env = {**stack.env(), "SORBUS_DATABASE": state, **{name.upper(): dsn for name, dsn in made.items()}}
    office = TwoWayOffice(tmp_path, unique, env)
    office.dsns = {**made, "state": state}
    yield office
    for dsn in made.values():
        with psycopg.connect(dsn, autocommit=True) as session:
            drop_slots(session)


def written(
    office: TwoWayOffice,
    *,
    direction: str = "two-way",
    systems: Sequence[str] = tuple(PLACES),
    on_lost_events: str = "stop",
    **rules: object,
) -> None:
    """The map: two-way, or the same flows one-way."""
    merge = {"email": "latest", "phone": "latest", "rate": "latest", "tags": "union"} | rules
    two_way = {"field_owners": {"credit": "books"}, "merge": merge, "clock_tolerance": "1s"}
    tables = {"books": {"table": "partners", "key": "code"}, "support": {"table": "contacts"}}
    targets = {name: target for name, target in tables.items() if name in systems}
    office.write(
        {
            "systems": {
                name: {"kind": "postgres", "connection": {"dsn": f"${{{name.upper()}}}"}, "owner": "Sales"}
                for name in systems
            },
            "data_types": {
                "customer": {"system_of_record": "crm", "source": {"table": "customers"}}
                | (two_way if direction == "two-way" else {})
            },
            "flows": [
                {
                    "data_type": "customer",
                    "to": to,
                    "direction": direction,
                    "on_lost_events": on_lost_events,
                    "target": {**target, "existing": True},
                }
                for to, target in targets.items()
            ],
        },
        [
            row
            for row in SHEET
            if {row[0], row[2]} <= {"canonical", *systems}
            and (direction == "two-way" or (row[0] == "canonical" and row[2] in targets))
        ],
        {"customer": SCHEMA},
    )


@contextmanager
def people(office: TwoWayOffice, ledger: Ledger) -> Iterator[list[Person]]:
    made = [Person(name, office.dsns[name], ledger, number) for number, name in enumerate(PLACES)]
    yield made
    for person in made:
        person.session.close()


def fill(office: TwoWayOffice, count: int) -> list[str]:
    with psycopg.connect(office.dsns["crm"]) as crm:
        crm.execute(
            "insert into customers (id, name, email, rate) select 'C' || n, 'Customer ' || n, n || '@example.com', n"
            " from generate_series(1, %s) n",
            [count],
        )
    return [f"C{number}" for number in range(1, count + 1)]


def latest(edits: list[Edit], within: float = 1.1) -> list[object]:
    """The last change, and those before it as long as each is within the tolerance of the next: any may win."""
    found: list[Edit] = []
    for edit in sorted(edits, reverse=True, key=lambda edit: edit.at):
        if found and found[-1].at - edit.at > within:
            break
        found.append(edit)
    return [edit.value for edit in found]
