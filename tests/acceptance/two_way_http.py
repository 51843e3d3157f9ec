"""A CRM in PostgreSQL, a shop and a support desk behind HTTP that change the same customers, and who works in them.

The shop keeps what it is given. The desk rounds, trims and lowers, and its answer to an update holds nothing. Both
have ETags. The ledger notes what people did in the applications' own words: no code of Sorbus.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import psycopg
import pytest

from sorbus.bus.kafka import all_partitions, bytes_of, read_to_end, topic_reader
from sorbus.bus.names import Names
from sorbus.ops.embedded import Addresses
from sorbus.settings import Settings
from tests.acceptance.office import Office, Row, rows_of
from tests.acceptance.two_way_office import NUMBER, Edit, Ledger
from tests.http_api.faulty import DESCRIBED, Faulty, serving
from tests.http_api.faulty_records import Record
from tests.replication_slots import drop_slots

SCHEMA: list[object] = [
    {"name": "name", "type": "string"},
    {"name": "email", "type": ["null", "string"], "default": None},
    {"name": "phone", "type": ["null", "string"], "default": None},
    {"name": "rate", "type": ["null", NUMBER], "default": None},
    {"name": "tags", "type": {"type": "array", "items": "string"}, "default": []},
    {"name": "city", "type": ["null", "string"], "default": None},
]
CRM = """
create table customers (id text primary key, name text not null, email text, phone text, rate numeric(19, 4),
                        tags text[] not null default '{}', city text)
"""
PATHS = {"email": "email", "phone": "tax_number", "rate": "amount", "tags": "lines", "city": "city"}
"""Canonical field -> an application's. The shop owns the city; who changes it elsewhere is overruled."""
SHARED = ("email", "phone", "rate", "tags")
SHEET: list[Row] = [
    *(("canonical", f"customer.{name}", "crm", name, "") for name in (*SHARED, "city")),
    *(("canonical", f"customer.{name}", to, "contacts.name", "") for name in ("name",) for to in ("shop", "desk")),
    *(("canonical", f"customer.{name}", "shop", f"contacts.{PATHS[name]}", "") for name in SHARED),
    *(("canonical", f"customer.{name}", "desk", f"contacts.{PATHS[name]}", "") for name in (*SHARED, "city")),
    *(("shop", f"contacts.{PATHS[name]}", "canonical", f"customer.{name}", "") for name in (*SHARED, "city")),
    *(("desk", f"contacts.{PATHS[name]}", "canonical", f"customer.{name}", "") for name in SHARED),
]

OWNED_BY_SHOP: list[Row] = [
    ("shop", "contacts.name", "canonical", "customer.name", ""),
    *(
        row
        for row in SHEET
        if "crm" not in row[:3] and row[:4] != ("canonical", "customer.name", "shop", "contacts.name")
    ),
]


def as_desk_keeps(fields: Record) -> Record:
    """Two decimal places, twelve characters of a phone number, lower case."""
    made = dict(fields)
    if made.get("amount"):
        made["amount"] = str(Decimal(made["amount"]).quantize(Decimal("0.01"), ROUND_HALF_UP))
    if made.get("tax_number"):
        made["tax_number"] = made["tax_number"].strip()[:12].strip()
    if made.get("email"):
        made["email"] = made["email"].strip().lower()
    return made


class TwoWayHttp(Office):
    """The three of them."""

    dsns: dict[str, str]
    shop: Faulty
    desk: Faulty
    changed: dict[tuple[str, str], list[float]]
    """(Record, application) -> when people changed any of its fields there."""

    def customers(self) -> dict[str, Record]:
        return {str(row["id"]): row for row in rows_of(self.dsns["crm"], "select * from customers")}

    def contacts(self, of: Faulty) -> dict[str, Record]:
        """By our id, as canonical fields."""
        found = {}
        for one in of.records.all():
            shown = {name: one[path] for name, path in PATHS.items()} | {"name": one["name"]}
            shown["rate"] = None if one["amount"] is None else Decimal(one["amount"])
            found[str(one["our_id"])] = shown
        return found

    def story(self, id: str, name: str) -> str:
        """What became of a field in the applications, and what the topics say of it: for a test that has failed."""
        told = []
        for system, of in (("shop", self.shop), ("desk", self.desk)):
            for one in of.writes:
                if (one.after or one.before or {}).get("our_id") == id:
                    before, after = (one.before or {}).get(PATHS[name]), (one.after or {}).get(PATHS[name])
                    told.append((one.at, f"{system}: {one.did} by {one.by[:12]}: {before!r} -> {after!r}"))
        names, settings = Names(f"{self.prefix}."), Settings(kafka=self.env["SORBUS_KAFKA"])
        for data_type in ("customer", "customer-proposals-crm", "customer-proposals-shop", "customer-proposals-desk"):
            reader = topic_reader(settings, "story")
            for message in read_to_end(reader, all_partitions(reader, names.topic(data_type))):
                value = message.value()
                if value is not None and bytes_of(message.key()) == id.encode():
                    told.append(((message.timestamp()[1]) / 1000, f"{data_type}: {bytes_of(value)!r}"))
            reader.close()
        return "\n".join(f"    {at:.3f} {what}" for at, what in sorted(told))

    def unlike(self) -> str:
        """What differs between the systems: each as it keeps values."""
        crm, shop, desk = self.customers(), self.contacts(self.shop), self.contacts(self.desk)
        lines = [f"{id} is not in all systems" for id in (crm.keys() ^ shop.keys()) | (crm.keys() ^ desk.keys())]
        for id in crm.keys() & shop.keys() & desk.keys():
            kept = as_desk_keeps(
                {
                    "email": crm[id]["email"],
                    "tax_number": crm[id]["phone"],
                    "amount": None if crm[id]["rate"] is None else str(crm[id]["rate"]),
                }
            )
            at_desk = {"email": kept["email"], "phone": kept["tax_number"]}
            at_desk["rate"] = None if kept["amount"] is None else Decimal(kept["amount"])
            for name in ("name", *PATHS):
                ours = crm[id][name]
                if shop[id][name] != ours:
                    lines.append(f"{id}: {name} is {ours!r} in crm and {shop[id][name]!r} in shop")
                if desk[id][name] != at_desk.get(name, ours):
                    lines.append(f"{id}: {name} is {desk[id][name]!r} at the desk, not {at_desk.get(name, ours)!r}")
        return "\n".join([f"{len(lines)} differences, the first:", *lines[:8]]) if lines else ""


class Clerk:
    """Somebody who works in one of the applications, or in the CRM's database."""

    def __init__(self, office: TwoWayHttp, system: str, ledger: Ledger, seed: int) -> None:
        self.system, self.ledger, self.chance = system, ledger, random.Random(f"{seed} {system}")
        self.office, self.next = office, 0
        self.of = {"shop": office.shop, "desk": office.desk}.get(system)
        self.session = psycopg.connect(office.dsns["crm"], autocommit=True) if self.of is None else None

    def work(self, ids: list[str], changes: int, pause: float = 0.0) -> None:
        for _ in range(changes):
            self.one(self.chance.choice(ids))
            if pause:
                time.sleep(pause)  # people aren't faster

    def one(self, id: str) -> None:
        fields = (*SHARED, "city") if self.system == "shop" else SHARED
        name = self.chance.choice(fields)
        self.next += 1
        if name == "tags":
            self.tag(id)
            return
        value: object = {
            "rate": f"{self.chance.uniform(0, 100):.4f}",
            "phone": f"+49 {self.chance.randint(10**6, 10**10)} {self.next}",
            "city": f"City {self.next}",
        }.get(name, f"{self.system}-{self.next}-{self.chance.randint(0, 10**6)}@Example.COM")
        self.change(id, name, lambda _: value)

    def change(self, id: str, name: str, make: Callable[[object], object]) -> object:
        """Replaces a field's value by another made of it; what is there then, None: no such record."""
        if self.of is None:
            assert self.session is not None
            with self.session.transaction():
                row = self.session.execute(
                    f"select {name} from customers where id = %s for update".encode(), [id]
                ).fetchone()
                if row is None:
                    return None
                value = make(row[0])
                self.session.execute(f"update customers set {name} = %s where id = %s".encode(), [value, id])
                kept: object = Decimal(str(value)) if name == "rate" else value
        else:
            with self.of.records.lock:
                found = self.of.records.find("our_id", id)
                if not found:
                    return None
                path = PATHS[name]
                self.of.change(str(found[0]["id"]), **{path: make(found[0][path])})
                value = self.of.records.find("our_id", id)[0][path]
                kept = Decimal(str(value)) if name == "rate" else value
        if self.of is not None:
            with self.ledger.lock:
                self.office.changed.setdefault((id, self.system), []).append(time.time())
        if name != "tags":
            self.ledger.note(id, name, Edit(time.time(), self.system, kept))
        return kept

    def tag(self, id: str) -> None:
        """Adds a tag that nobody else adds, or takes one away that is there."""
        taken: list[str] = []
        adds = self.chance.random() < 0.6
        tag = f"{self.system}{self.next}"

        def make(before: object) -> object:
            there = list(before) if isinstance(before, list) else []
            if adds:
                return [*there, tag]
            taken.extend(there[:1])
            return there[1:]

        if self.change(id, "tags", make) is None:
            return
        with self.ledger.lock:
            self.ledger.count += 1
            if adds:
                self.ledger.tags.setdefault(id, set()).add(tag)
            self.ledger.removed.setdefault(id, set()).update(taken)

    def close(self) -> None:
        if self.session is not None:
            self.session.close()


def described(office: TwoWayHttp, of: Faulty, name: str, **changes: object) -> dict[str, object]:
    """A system of the map, its description beside it."""
    contacts = {**DESCRIBED["resources"]["contacts"], "etag": True}
    contacts["update"] = {**contacts["update"], **changes}
    (office.folder / name).mkdir(exist_ok=True)
    of.describe(office.folder / name, resources={"contacts": contacts}, timeout=2)
    connection = {"api": f"{name}/faulty.yaml", "base_url": of.base_url, "api_key": f"${{{name.upper()}_API_KEY}}"}
    return {"kind": "http", "connection": connection, "owner": "Sales"}


def written(office: TwoWayHttp, owner: str = "crm", **rules: object) -> None:
    """The map; without a CRM where the shop is the system of record."""
    merge = {"email": "latest", "phone": "latest", "rate": "latest", "tags": "union"} | rules
    proposals = {"every": "every 1s", "compare": "every 20s", "may_vanish": True}
    office.write(
        {
            "systems": {
                **(
                    {"crm": {"kind": "postgres", "connection": {"dsn": "${CRM}"}, "owner": "Sales"}}
                    if owner == "crm"
                    else {}
                ),
                "shop": described(office, office.shop, "shop"),
                "desk": described(office, office.desk, "desk", returns="nothing"),
            },
            "data_types": {
                "customer": {
                    "system_of_record": owner,
                    "source": {"table": "customers"} if owner == "crm" else {"resource": "contacts", **proposals},
                    "match": ["email"],
                    **({"field_owners": {"city": "shop"}} if owner == "crm" else {}),
                    "merge": merge,
                    "clock_tolerance": "2s",
                }
            },
            "flows": [
                {
                    "data_type": "customer",
                    "to": to,
                    "direction": "two-way",
                    "target": {"resource": "contacts"},
                    "proposals": proposals,
                }
                for to in ("shop", "desk")
                if to != owner
            ],
        },
        SHEET if owner == "crm" else OWNED_BY_SHOP,
        {"customer": SCHEMA},
    )


def fill(office: TwoWayHttp, count: int) -> list[str]:
    with psycopg.connect(office.dsns["crm"]) as crm:
        crm.execute(
            "insert into customers (id, name, email, rate) select 'C' || n, 'Customer ' || n, n || '@example.com',"
            " n + 0.1234 from generate_series(1, %s) n",
            [count],
        )
    return [f"C{number}" for number in range(1, count + 1)]


@pytest.fixture
def office(stack: Addresses, make_database: Callable[[str], str], unique: str, tmp_path: Path) -> Iterator[TwoWayHttp]:
    crm, state = make_database(CRM), make_database("select 1")
    with ExitStack() as applications:
        shop, desk = (applications.enter_context(serving(seed)) for seed in (1, 2))
        desk.records.keeps = as_desk_keeps
        keys = {"SHOP_API_KEY": shop.api_key, "DESK_API_KEY": desk.api_key}
        made = TwoWayHttp(tmp_path, unique, {**stack.env(), "SORBUS_DATABASE": state, "CRM": crm, **keys})
        made.dsns, made.shop, made.desk, made.changed = {"crm": crm, "state": state}, shop, desk, {}
        yield made
    with psycopg.connect(crm, autocommit=True) as session:
        drop_slots(session)


def at_work(office: TwoWayHttp, ledger: Ledger) -> list[Clerk]:
    return [Clerk(office, system, ledger, number) for number, system in enumerate(("crm", "shop", "desk"))]


def all_work(clerks: list[Clerk], ids: list[str], changes: int, pause: float) -> list[threading.Thread]:
    """Each makes so many changes, all at the same time."""
    threads = [threading.Thread(target=clerk.work, args=(ids, changes, pause)) for clerk in clerks]
    for thread in threads:
        thread.start()
    return threads
