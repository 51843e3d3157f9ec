"""Healing an application through the bus: what people changed there is found, put right once, and nothing else."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sorbus.identity.crosswalk import Crosswalk
from sorbus.ops.embedded import Addresses
from sorbus.state.database import State
from tests.acceptance.office import Office, execute
from tests.consumers.line import eventually
from tests.http_api.faulty import Faulty, serving
from tests.http_api.faulty_records import Record

FLOW = "contact-to-books"
COUNT = 30
FIELDS = [
    {"name": "name", "type": "string"},
    {"name": "city", "type": ["null", "string"], "default": None},
    {
        "name": "amount",
        "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}],
        "default": None,
    },
]
KINDS = {
    "g1": "different", "g2": "different", "g3": "different", "g4": "missing", "g5": "missing", "g6": "different",
    "g7": "missing", "g8": "different", "g9": "different", "compacted": "extra", "restored": "extra",
}  # fmt: skip


class HealedCompany:
    """An owner, and an application that people work in. `owns` is the owner's own application, None: a database."""

    def __init__(self, office: Office, dsn: str, books: Faulty, owns: Faulty | None) -> None:
        self.office, self.dsn, self.books, self.owns = office, dsn, books, owns
        self.ids = {f"g{number}": f"g{number}" for number in range(COUNT)}
        books.describe(office.folder)
        owner: Record = {"kind": "postgres", "connection": {"dsn": "${CRM_DSN}"}}
        source: Record = {"table": "contacts"}
        if owns is not None:
            connection = {"api": "faulty.yaml", "base_url": owns.base_url, "api_key": "${KEY}"}
            owner, source = {"kind": "http", "connection": connection}, {"resource": "contacts", "every": "every 1s"}
        target = {"api": "faulty.yaml", "base_url": books.base_url, "api_key": "${KEY}"}
        office.write(
            {
                "systems": {"crm": owner, "books": {"kind": "http", "connection": target}},
                "data_types": {"contact": {"system_of_record": "crm", "source": source, "match": ["name"]}},
                "flows": [
                    {
                        "data_type": "contact",
                        "to": "books",
                        "target": {"resource": "contacts"},
                        "reconcile": {"heal_limit": "100%"},
                    }
                ],
            },
            [
                ("canonical", "contact.name", "books", "contacts.name", ""),
                ("canonical", "contact.city", "books", "contacts.city", ""),
                ("canonical", "contact.amount", "books", "contacts.amount", ""),
            ],
            {"contact": FIELDS},
        )
        rows = [{"name": f"Name {n}", "city": f" Oslo  {n} ", "amount": f"{n}.5"} for n in range(COUNT)]
        if owns is None:
            execute(dsn, "create table contacts (id text primary key, name text, city text, amount numeric(12,2))")
            values = ", ".join(
                f"('g{n}', '{row['name']}', '{row['city']}', {row['amount']})" for n, row in enumerate(rows)
            )
            execute(dsn, f"insert into contacts values {values}")
        else:
            self.ids = {f"g{n}": owns.add(**row) for n, row in enumerate(rows)}

    @property
    def links(self) -> Crosswalk:
        return Crosswalk(
            State(self.office.env["SORBUS_DATABASE"], f"{self.office.prefix}."), "books", "contact", "contacts"
        )

    def reconcile(self, *words: str) -> dict[str, Any]:
        told = self.office.sorbus("reconcile", FLOW, "--json", *words, status=None)
        return dict(json.loads(told.splitlines()[0]))

    def differences(self) -> str:
        """What a comparison finds now, or can't tell yet; "" for nothing."""
        told = self.reconcile()
        return str(told) if told["differences"] or told["undecided"] else ""

    def plant(self) -> None:
        """Ten kinds of differences, by the application's people; and what is none."""
        books, links = self.books, self.links
        there = {name: links.external_of([id])[id] for name, id in self.ids.items()}
        books.change(there["g1"], city="by hand")
        books.change(there["g2"], city=None)
        books.change(there["g3"], amount="77.7")
        books.remove(there["g4"])
        books.remove(there["g5"])
        books.add(name="Name 5", city="made again by hand")
        books.change(there["g6"], our_id=None)
        books.records.archives = True
        books.remove(there["g7"])
        books.records.archives = False
        books.change(there["g8"], name="Name 9")
        books.change(there["g9"], name="Name 8")
        gone = ("999999", "999998")
        self.ids |= {"compacted": gone[0], "restored": gone[1]}
        links.link(gone[0], books.add(name="its delete is compacted away"), 1, {})
        links.link(gone[1], books.add(name="deleted, and restored"), 1, {})
        links.gone(gone[1], 2)
        books.add(name="theirs")
        # The application's own way to keep a value: no difference, or it would be one for ever.
        books.change(there["g10"], city="Oslo  10", amount="10.5000")
        books.change(there["g11"], status="archived")  # a field that isn't mapped


@pytest.fixture(params=["postgres", "http"])
def company(
    request: pytest.FixtureRequest,
    stack: Addresses,
    tmp_path: Path,
    make_database: Callable[[], str],
    unique: str,
    faulty: Faulty,
) -> Iterator[HealedCompany]:
    state, crm = make_database(), make_database()
    env = {**stack.env(), "SORBUS_DATABASE": state, "CRM_DSN": crm, "KEY": "key"}
    office = Office(tmp_path, unique, env)
    if request.param == "postgres":
        yield HealedCompany(office, crm, faulty, None)
        return
    with serving(seed=7) as owns:
        yield HealedCompany(office, crm, faulty, owns)


def test_what_people_changed_is_healed_once_as_the_dry_run_said(company: HealedCompany) -> None:
    office, books = company.office, company.books
    office.sorbus("apply", "--yes")
    with office.up():
        office.until(lambda: "" if len(books.records) == COUNT else f"{len(books.records)} records", 60, every=0.1)
        links = company.links
        eventually(lambda: len(links.external_of(list(company.ids.values()))) == COUNT, "links")
        assert company.reconcile()["counts"] == {}
        company.plant()
        names = {id: name for name, id in company.ids.items()}
        said = company.reconcile("--heal", "--dry-run")
        assert {names[one["id"]]: one["kind"] for one in said["differences"]} == KINDS
        assert said["not_compared"] == ["1 records of books that Sorbus has neither made nor linked"]
        would = {names[id]: action for id, action in said["heal"]["would"].items()}
        begin = len(books.writes)
        healed = company.reconcile("--heal")
        assert healed["heal"]["records"] == said["heal"]["records"]
        office.until(company.differences, 30, every=0.2)
        did = Counter(write.did for write in books.writes[begin:])
    does = {"update": "update", "link": "update", "create": "create", "delete": "delete"}
    planned = Counter(does[action] for action in would.values())
    done = [(write.did, (write.after or write.before or {}).get("name")) for write in books.writes[begin:]]
    assert did == planned, "\n".join([*map(str, would.items()), "done:", *map(str, done)])
    assert would["g5"] == "link"
    assert all(write.by != "hand" for write in books.writes[begin:])
    assert books.doubles("name") == {}
    shown = {str(one["name"]): one for one in books.contacts().values()}
    assert set(shown) == {f"Name {n}" for n in range(COUNT)} | {"theirs"}
    for n in range(1, 10):
        assert (shown[f"Name {n}"]["city"].strip(), shown[f"Name {n}"]["amount"]) == (f"Oslo  {n}", f"{n}.5000"), n
