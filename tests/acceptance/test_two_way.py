"""Three systems change the same records at random, one of them rounding and trimming, while everything is killed.

The oracle is a ledger of what people did, in SQL's own words, and the tables themselves: no code of Sorbus.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest

from sorbus.ops.embedded import Addresses
from tests.acceptance.office import Office, Row, rows_of
from tests.conftest import Report
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
TOLERANCE = 0.2


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
def office(stack: Addresses, make_database: object, unique: str, tmp_path: Path) -> Iterator[TwoWayOffice]:
    made = {"crm": make_database(CRM), "books": make_database(BOOKS), "support": make_database(SUPPORT)}  # type: ignore[operator]
    state = make_database("select 1")  # type: ignore[operator]
    env = {**stack.env(), "SORBUS_DATABASE": state, **{name.upper(): dsn for name, dsn in made.items()}}
    office = TwoWayOffice(tmp_path, unique, env)
    office.dsns = {**made, "state": state}
    yield office
    for dsn in made.values():
        with psycopg.connect(dsn, autocommit=True) as session:
            drop_slots(session)


def written(office: TwoWayOffice, **rules: object) -> None:
    office.write(
        {
            "systems": {
                name: {"kind": "postgres", "connection": {"dsn": f"${{{name.upper()}}}"}, "owner": "Sales"}
                for name in ("crm", "books", "support")
            },
            "data_types": {
                "customer": {
                    "system_of_record": "crm",
                    "source": {"table": "customers"},
                    "field_owners": {"credit": "books"},
                    "merge": {"email": "latest", "phone": "latest", "rate": "latest", "tags": "union"} | rules,
                    "clock_tolerance": "1s",
                }
            },
            "flows": [
                {
                    "data_type": "customer",
                    "to": "books",
                    "direction": "two-way",
                    "target": {"table": "partners", "key": "code", "existing": True},
                },
                {
                    "data_type": "customer",
                    "to": "support",
                    "direction": "two-way",
                    "target": {"table": "contacts", "existing": True},
                },
            ],
        },
        SHEET,
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


def test_a_change_anywhere_reaches_all_and_people_decide_what_no_rule_does(office: TwoWayOffice) -> None:
    written(office, phone="ask")
    ids = fill(office, 5)
    with psycopg.connect(office.dsns["support"]) as support:  # it has one of them already, and one that nobody else has
        support.execute(
            "insert into contacts (id, name, email, phone, tags) values ('C1', 'Customer 1', 'old@example.com', '77',"
            " '{vip}'), ('X9', 'Unknown', null, null, '{}')"
        )
    office.sorbus("map", "check")
    office.sorbus("apply", "--yes")
    ledger = Ledger()
    with office.up():
        told = office.sorbus("two-way", "join", "customer")
        assert "email: 1 differ; its value is replaced" in told
        assert "tags: 1 differ; its value is taken" in told
        assert "1 have no counterpart (such as X9)" in told
        assert len(office.rows("support")) == 2, "something was written before the join was accepted"
        assert "5 are missing there and will be created" in office.sorbus("two-way", "join", "customer", "--accept")
        office.until(lambda: office.unlike() if len(office.rows("support")) < 6 else "", 60)
        with psycopg.connect(office.dsns["support"], autocommit=True) as support:
            support.execute("delete from contacts where id = 'X9'")
        office.until(office.unlike, 60)
        assert office.rows("crm")["C1"]["tags"] == ["vip"]
        assert office.rows("crm")["C1"]["phone"] == "77"
        with people(office, ledger) as made:
            for person in made:
                for _ in range(8):
                    person.one(ids[1])
        office.until(
            lambda: "" if office.sorbus("conflicts", "list", status=None).count("phone") else "no conflict", 60
        )
        office.until(lambda: decided(office, ids[1]) + office.unlike(), 60)
        assert "customer-to-books" in office.sorbus("status", status=None)
        # Two systems that write back what they are given, each another value, would never end.
        with psycopg.connect(office.dsns["books"], autocommit=True) as books:
            books.execute(TURNS)
        with job(office.dsns["books"]), psycopg.connect(office.dsns["crm"], autocommit=True) as crm:
            crm.execute("update customers set email = 'begin' where id = 'C3'")
            office.until(lambda: "" if "C3" in office.sorbus("conflicts", "list") else "no loop was stopped", 90)
            told = office.sorbus("conflicts", "list", "--json")
        traced = office.sorbus("trace", "customer", "C1", status=None)
    assert "C3" in told
    assert "email" in told
    assert "customer-merge" in traced
    assert "can't be told" not in traced, traced
    assert "no difference found" in office.sorbus("reconcile", "customer-to-support")
    with psycopg.connect(office.dsns["support"], autocommit=True) as support:  # nothing captures it now
        support.execute("update contacts set rate = rate + 1 where id = 'C4'")
    assert "C4" in office.sorbus("reconcile", "customer-to-support", status=1)


# What a job of the books that runs after each change takes its work from.
TURNS = """
create table job (code text);
create function note() returns trigger language plpgsql as $$
begin
    insert into job values (new.code);
    return null;
end $$;
create trigger note after update on partners for each row
    when (new.code = 'C3' and current_setting('books.job', true) is null) execute function note();
"""


@contextmanager
def job(dsn: str) -> Iterator[None]:
    """Writes another address into what was changed, again and again."""
    over = threading.Event()

    def run() -> None:
        with psycopg.connect(dsn, autocommit=True) as books:
            books.execute("set books.job = 'on'")
            number = 0
            while not over.wait(0.05):
                if books.execute("delete from job").rowcount:
                    number += 1
                    books.execute("update partners set mail = 'turn' || %s where code = 'C3'", [number])

    thread = threading.Thread(target=run)
    thread.start()
    yield
    over.set()
    thread.join(10)


def decided(office: TwoWayOffice, id: str) -> str:
    """A person decides all that is open about a record, for the other system's value; what was decided."""
    told = ""
    for line in office.sorbus("conflicts", "list", "--json").splitlines():
        one = json.loads(line)
        assert (one["id"], one["field"]) == (id, "phone")
        office.sorbus("conflicts", "keep", str(one["number"]), "--yes", "--reason", "the customer says so")
        told += f"{one['number']} is decided; "
    return told


def latest(edits: list[Edit]) -> list[object]:
    """The last change, and those before it as long as each is within the tolerance of the next: any may win."""
    found: list[Edit] = []
    for edit in sorted(edits, reverse=True, key=lambda edit: edit.at):
        if found and found[-1].at - edit.at > 1.1:
            break
        found.append(edit)
    return [edit.value for edit in found]


def unlike_ledger(office: TwoWayOffice, ledger: Ledger) -> str:
    """What the CRM shows otherwise than the rules make of what people did."""
    crm, books = office.rows("crm"), office.rows("books")
    lines = []
    for (id, name), edits in ledger.edits.items():
        if id not in crm or (name == "credit" and id in ledger.deleted):
            continue  # what the books own begins again with their default where they deleted the record
        shown = books[id]["limit"] if name == "credit" else crm[id][name]
        right = latest(edits) if name != "credit" else [edits[-1].value]
        if shown not in right:
            lines.append(f"{id}: {name} is {shown!r}, not {right!r}; {edits}")
    for id, row in crm.items():
        added, removed = ledger.tags.get(id, set()), ledger.removed.get(id, set())
        tags = row["tags"]
        assert isinstance(tags, list)
        if set(tags) != added - removed or len(tags) != len(set(tags)):
            lines.append(f"{id}: tags are {tags}, not {sorted(added - removed)}")
    return "\n".join([f"{len(lines)} differences from the ledger, the first:", *lines[:6]]) if lines else ""


@pytest.mark.slow
def test_three_systems_at_random_end_as_the_rules_say(office: TwoWayOffice, report: Report) -> None:
    records, changes, kills = 1000, 6000, 6
    written(office)
    ids = fill(office, records)
    office.sorbus("map", "check")
    office.sorbus("apply", "--yes")
    ledger = Ledger()
    with office.up():
        office.sorbus("two-way", "join", "customer", "--accept")
        office.until(office.unlike, 120)
    began = time.monotonic()
    with people(office, ledger) as made:
        for number in range(kills):
            with office.killed():
                threads = [
                    threading.Thread(target=person.work, args=(ids, changes // kills // 3, 0.005)) for person in made
                ]
                for thread in threads:
                    thread.start()
                if number == 2:
                    time.sleep(2)
                    office.sorbus("backfill", "customer-proposals-books", status=None)
                for thread in threads:
                    thread.join(120)
        with office.up():
            for person in made:
                person.work(ids[:50], 100)
            gone = random.Random(1).sample(ids[50:], 30)
            made[0].session.execute("delete from customers where id = any (%s)", [gone])
            made[1].session.execute("delete from partners where code = any (%s)", [ids[:10]])
            ledger.deleted |= set(ids[:10])
            made[0].session.execute(
                "insert into customers (id, name) select 'N' || n, 'New' from generate_series(1, 20) n"
            )
            took = office.until(office.unlike, 300, every=1.0)
            quiet = versions(office)
            office.until(lambda: "" if office.unlike() == "" else "still at work", 30)
            conflicts = office.sorbus("conflicts", "list", "--json", status=None)
        assert versions(office) == quiet, "something still turns"
    told = unlike_ledger(office, ledger)
    report(
        f"two-way: {ledger.count} changes in 3 systems to {records} records, {kills} kills of everything,"
        f" {time.monotonic() - began:.0f} s, quiet {took:.0f} s after the last one"
    )
    assert told == "", told
    assert len(office.rows("crm")) == records - 30 + 20
    assert conflicts is not None


def versions(office: TwoWayOffice) -> object:
    schema = rows_of(
        office.dsns["state"], "select table_schema from information_schema.tables where table_name = 'merged_record'"
    )
    name = schema[0]["table_schema"]
    return rows_of(
        office.dsns["state"], f'select max(version), count(*) filter (where owed) from "{name}".merged_record'
    )
