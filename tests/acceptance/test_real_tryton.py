"""The CRM's customers as parties of a real Tryton."""

from __future__ import annotations

import base64
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import httpx
import pytest

from sorbus.ops.embedded import Addresses
from tests.acceptance.customers import CRM_ROWS, CRM_TABLE, Application, Customer, follow, office_map, sheet
from tests.acceptance.office import Office
from tests.acceptance.real import Running, tryton
from tests.conftest import Report

pytestmark = pytest.mark.real


class Desk:
    """Somebody at Tryton, by its own JSON-RPC."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=f"{url}/erp/", timeout=120)
        id, key = self.call("common.db.login", "admin", {"password": "adminpw"})
        session = base64.b64encode(f"admin:{id}:{key}".encode()).decode()
        self._client.headers["Authorization"] = f"Session {session}"

    def call(self, method: str, *arguments: object) -> list[object]:
        answer = self._client.post("", json={"id": 1, "method": method, "params": [*arguments]}).json()
        assert isinstance(answer, list) or "error" not in answer, answer
        found = answer if isinstance(answer, list) else answer["result"]
        assert isinstance(found, list)
        return found

    def make(self, customers: Sequence[Customer]) -> None:
        """Puts parties in by hand, each with its e-mail address."""
        values = [
            {
                "name": one.name.upper(),
                "contact_mechanisms": [["create", [{"type": "email", "value": one.email}]]],
            }
            for one in customers
        ]
        self.call("model.party.party.create", values, {})


@pytest.fixture
def running() -> Iterator[Running]:
    with tryton() as running:
        yield running


def parties(file: Path) -> list[Mapping[str, object]]:
    """Tryton's own tables: active parties with name, code and contact mechanisms."""
    with sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True) as connection:
        found = connection.execute(
            "select p.id, p.name, p.code,"
            " (select value from party_contact_mechanism m where m.party = p.id and m.type = 'email'"
            "   and m.active order by m.sequence, m.id limit 1),"
            " (select value from party_contact_mechanism m where m.party = p.id and m.type = 'phone'"
            "   and m.active order by m.sequence, m.id limit 1)"
            " from party_party p where p.active"
        ).fetchall()
    return [dict(zip(("id", "name", "code", "email", "phone"), row, strict=True)) for row in found]


def test_customers_reach_tryton(
    running: Running,
    stack: Addresses,
    make_database: Callable[[str], str],
    unique: str,
    tmp_path: Path,
    report: Report,
) -> None:
    desk, file = Desk(running.url), running.folder / "db" / "erp.sqlite"
    connection = {"api": "tryton", "base_url": f"{running.url}/erp", "username": "admin", "password": "${ERP_PASSWORD}"}
    application = Application(
        name="erp",
        system={"kind": "http", "connection": connection, "owner": "Warehouse"},
        target={"resource": "party"},
        match=["email"],
        by_hand=desk.make,
        read=lambda: {str(one["email"]): one for one in parties(file) if unique in str(one["email"])},
        count=lambda: len(parties(file)),
        wanted=lambda row: (str(row["email"]), {"name": row["name"], "phone": str(row["phone"])}),
    )
    env = {"CRM_DSN": make_database(CRM_TABLE), "SORBUS_DATABASE": make_database(""), "ERP_PASSWORD": "adminpw"}
    office = Office(tmp_path, unique, {**stack.env(), **env})
    office.write(office_map(application), [*CRM_ROWS, *sheet("erp", "customer")])
    office.sorbus("apply", "--yes")
    figures = follow(office, application, unique)
    codes = [one["code"] for one in parties(file)]
    assert len(set(codes)) == len(codes)
    report(f"Tryton: {figures}")
