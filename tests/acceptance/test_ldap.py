"""From HR to the directory and to the project tool, and from the directory to the project tool, while people change
both, everything of ours is killed, and slapd, too: equal at the end.

What is compared is what ldapsearch prints and SQL finds; Sorbus's code has no part in it.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psycopg
import pytest

from sorbus.ops.embedded import Addresses
from tests.acceptance.office import Office, rows_of, unlike
from tests.conftest import Report
from tests.ldap.slapd import BASE, PASSWORD, Slapd, ldif, replacing

pytestmark = pytest.mark.slow
SORBUS = str(Path(sys.executable).with_name("sorbus"))
TEXTS = ("family", "user_name", "email", "phone", "title", "manager_id")
SCHEMAS: dict[str, list[object]] = {
    "person": [
        {"name": "name", "type": "string"},
        *({"name": name, "type": ["null", "string"], "default": None} for name in TEXTS),
    ],
    "partner": [
        {"name": "name", "type": "string"},
        {"name": "email", "type": ["null", "string"], "default": None},
        {"name": "phones", "type": {"type": "array", "items": "string"}, "default": []},
        {"name": "contact_id", "type": ["null", "string"], "default": None},
    ],
}
PEOPLE = {"user_name": "uid", "name": "cn", "email": "mail", "phone": "telephoneNumber", "title": "title"}
ROWS = [
    *(("canonical", f"person.{field}", "directory", f"inetOrgPerson.{name}", "") for field, name in PEOPLE.items()),
    ("canonical", "person.family", "directory", "inetOrgPerson.sn", "value or record.name"),
    ("canonical", "person.manager_id", "directory", "inetOrgPerson.manager", ""),
    ("canonical", "person.id", "directory", "inetOrgPerson.employeeNumber", ""),
    ("directory", "organizationalRole.cn", "canonical", "partner.name", ""),
    ("directory", "organizationalRole.description", "canonical", "partner.email", ""),
    ("directory", "organizationalRole.telephoneNumber", "canonical", "partner.phones", ""),
    ("directory", "organizationalRole.roleOccupant", "canonical", "partner.contact_id", ""),
]
HR = """
create table people (id bigint primary key, name text not null, family text, user_name text not null unique, email text,
    phone text, title text, manager_id bigint)
"""
CHANGES, ROUNDS, KILLS = 10_000, 18, 6
Rows = dict[str, dict[str, object]]
NAMES = ("Müller, Jörg", 'O\'Hara "Tip"', "Anna + Bo", "#1 Nils", "x\\y", "日本 太郎", "<Li; Na>", "Smith=Jones")


class Company:
    """People in HR by SQL, partners in the directory by ldapmodify."""

    def __init__(self, hr: str, server: Slapd) -> None:
        self.hr, self.server, self.changes = hr, server, 0
        self._chance = random.Random(18)
        self._people: list[int] = []
        self._users: list[str] = []
        self._partners: dict[str, str] = {}
        self._next = 1

    def work(self, changes: int) -> None:
        """Half of them in HR, half in the directory."""
        with psycopg.connect(self.hr, autocommit=True) as connection:
            for _ in range(changes // 2):
                self._change_hr(connection)
        self.server.modify("".join(self._partner() for _ in range(changes - changes // 2)))

    def _change_hr(self, connection: psycopg.Connection) -> None:
        self.changes += 1
        chance, kind = self._chance, self._chance.random()
        if kind < 0.3 or len(self._people) < 40:
            id = self._next = self._next + 1
            # A name of someone who has left is given to another one now and then.
            user = self._users.pop() if self._users and chance.random() < 0.5 else f"u{id}"
            manager = chance.choice(self._people) if self._people and id % 3 else None
            values = (
                id,
                f"{chance.choice(NAMES)} {id}",
                chance.choice([None, "Family"]),
                user,
                f"{user}@x.test",
                manager,
            )
            connection.execute(
                "insert into people (id, name, family, user_name, email, manager_id) values (%s, %s, %s, %s, %s, %s)",
                values,
            )
            self._people.append(id)
        elif kind < 0.8:
            id = chance.choice(self._people)
            phone, title = chance.choice([None, f"+49 30 {id}"]), chance.choice([None, "Head", f"T{chance.random()}"])
            connection.execute("update people set phone = %s, title = %s where id = %s", (phone, title, id))
        elif kind < 0.9:
            id = chance.choice(self._people)
            connection.execute("update people set user_name = %s where id = %s", (f"r{self.changes}", id))
        else:
            id = self._people.pop(chance.randrange(len(self._people)))
            connection.execute("update people set manager_id = null where manager_id = %s", (id,))
            [user] = connection.execute("delete from people where id = %s returning user_name", (id,)).fetchone() or [
                ""
            ]
            self._users.append(str(user))

    def _partner(self) -> str:
        self.changes += 1
        chance, kind = self._chance, self._chance.random()
        if kind < 0.3 or len(self._partners) < 40:
            number = self.changes
            dn = f"cn=P{number},ou=partners,{BASE}"
            self._partners[dn] = f"P{number}"
            return ldif(dn, {"objectClass": "organizationalRole", "cn": f"P{number}", **self._values()})
        dn = chance.choice(list(self._partners))
        if kind < 0.8:
            return replacing(dn, {**dict.fromkeys(("telephoneNumber", "roleOccupant")), **self._values()})
        if kind < 0.9:
            del self._partners[dn]
            new = f"R{self.changes}"
            self._partners[f"cn={new},ou=partners,{BASE}"] = new
            return f"dn: {dn}\nchangetype: modrdn\nnewrdn: cn={new}\ndeleteoldrdn: 1\n\n"
        del self._partners[dn]
        return f"dn: {dn}\nchangetype: delete\n\n"

    def _values(self) -> dict[str, object]:
        chance = self._chance
        phones = [f"+49 {number}" for number in range(chance.randrange(4))]
        contact = {} if chance.random() < 0.5 else {"roleOccupant": f"ou=partners,{BASE}"}
        return {"description": f"ü{chance.random()}@x", **({"telephoneNumber": phones} if phones else {}), **contact}


def entries(server: Slapd) -> Rows:
    """People in the directory, managers by their employee number."""
    found = server.search("(objectClass=inetOrgPerson)", "*", base=f"ou=people,{BASE}")
    numbers = {dn.lower(): entry["employeeNumber"][0].decode() for dn, entry in found.items()}
    made = Rows()
    for dn, entry in found.items():
        text = {name: entry[name][0].decode() if name in entry else None for name in (*PEOPLE.values(), "manager")}
        number = numbers[dn.lower()]
        assert number not in made, f"{number} is there twice"
        assert all(len(values) == 1 for name, values in entry.items() if name != "objectClass"), dn
        manager = text["manager"]
        made[number] = {
            **{field: text[name] for field, name in PEOPLE.items()},
            "family": entry["sn"][0].decode(),
            "manager_id": None if manager is None else numbers.get(manager.lower(), manager),
        }
    return made


def people(dsn: str) -> Rows:
    columns = ", ".join(PEOPLE)
    query = f"select id::text as key, {columns}, coalesce(family, name) as family, manager_id::text from people"
    return {str(row.pop("key")): row for row in rows_of(dsn, query)}


def members(dsn: str) -> Rows:
    query = f"select id as key, {', '.join(PEOPLE)}, coalesce(family, name) as family, manager_id from members"
    return {str(row.pop("key")): row for row in rows_of(dsn, query)}


def partners(server: Slapd) -> Rows:
    ids = {dn: entry["entryUUID"][0].decode() for dn, entry in server.search("(objectClass=*)", "entryUUID").items()}
    found = server.search("(objectClass=organizationalRole)", base=f"ou=partners,{BASE}")
    return {
        ids[dn]: {
            "name": entry["cn"][0].decode(),
            "email": entry["description"][0].decode(),
            "phones": sorted(one.decode() for one in entry.get("telephoneNumber", [])),
            "contact_id": ids[entry["roleOccupant"][0].decode()] if "roleOccupant" in entry else None,
        }
        for dn, entry in found.items()
    }


def known_partners(dsn: str) -> Rows:
    return {str(row.pop("id")): row for row in rows_of(dsn, "select id, name, email, phones, contact_id from partners")}


def company(server: Slapd) -> Mapping[str, object]:
    return {
        "systems": {
            "hr": {"kind": "postgres", "owner": "HR", "connection": {"dsn": "${HR_DSN}"}},
            "directory": {
                "kind": "ldap",
                "owner": "IT",
                "connection": {**server.connection, "password": "${LDAP_PASSWORD}"},
            },
            "projects": {"kind": "postgres", "owner": "Delivery", "connection": {"dsn": "${PROJECTS_DSN}"}},
        },
        "data_types": {
            "person": {"system_of_record": "hr", "source": {"table": "people"}},
            "partner": {
                "system_of_record": "directory",
                "source": {
                    "resource": "organizationalRole",
                    "base": f"ou=partners,{BASE}",
                    "references": {"roleOccupant": "entryUUID"},
                    "every": "every 5s",
                    "max_deletes": 5000,
                },
            },
        },
        "flows": [
            {
                "data_type": "person",
                "to": "directory",
                "target": {
                    "resource": "inetOrgPerson",
                    "dn": "uid={uid},ou=people,{base}",
                    "references": {"manager": "person"},
                    "marker": "employeeNumber",
                },
            },
            {"data_type": "person", "to": "projects", "target": {"table": "members"}},
            {"data_type": "partner", "to": "projects", "target": {"table": "partners"}},
        ],
    }


@pytest.mark.parametrize("changes", [int(os.environ.get("LDAP_CHANGES", CHANGES))])
def test_ten_thousand_changes_with_kills_in_the_middle(
    changes: int,
    stack: Addresses,
    make_database: Callable[[str], str],
    unique: str,
    tmp_path: Path,
    report: Report,
) -> None:
    server = Slapd(tmp_path / "slapd", sync="syncprov-sessionlog 1000")
    server.start()
    server.organize()
    server.modify(f"dn: ou=partners,{BASE}\nobjectClass: organizationalUnit\nou: partners\n")
    hr, projects = make_database(HR), make_database("")
    secrets = {"LDAP_PASSWORD": PASSWORD, "HR_DSN": hr, "PROJECTS_DSN": projects, "SORBUS_DATABASE": make_database("")}
    office = Office(tmp_path, unique, {**stack.env(), **secrets})
    office.write(company(server), ROWS, SCHEMAS)
    people_at_work = Company(hr, server)
    people_at_work.work(changes // 10)
    office.sorbus("map", "check")
    office.sorbus("apply", "--yes")
    began, restarts = time.monotonic(), 0
    per_round = (changes - changes // 10) // ROUNDS + 1
    for number in range(KILLS):
        with office.killed():
            for _ in range(ROUNDS // KILLS):
                people_at_work.work(per_round)
                time.sleep(people_at_work.changes % 7 / 10)  # not always at the same moment of Sorbus's work
            if number % 2:
                server.kill()
                server.start()
                restarts += 1
                people_at_work.work(20)
                time.sleep(1)
    with office.up():

        def missing() -> str:
            wanted = people(hr)
            return (
                unlike(entries(server), wanted)
                or unlike(members(projects), wanted)
                or unlike(known_partners(projects), partners(server))
            )

        office.until(missing, 300, every=1.0)
        took = time.monotonic() - began
        assert "they agree" in office.sorbus("reconcile", "person-to-directory")
        for flow in ("person-to-directory", "partner-to-projects"):
            planned = json.loads(office.sorbus("plan", flow, "--json"))
            assert planned["counts"]["nothing"] == planned["records"], planned
        letters = office.sorbus("dlq", "groups", "--json", status=None)
    report(
        f"{people_at_work.changes} changes, {KILLS} kills of sorbus, {restarts} of slapd, {len(people(hr))} people,"
        f" {len(partners(server))} partners, {took:.0f} s; dead letters: {letters.strip()[:500]}"
    )
    server.stop()
