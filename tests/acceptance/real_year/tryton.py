"""Tryton as another ERP, with customers and price list: its administrator (JSON-RPC), and its own tables."""

from __future__ import annotations

import base64
import secrets

import httpx

from sorbus.ops.demo.year.ledger import Rows
from sorbus.ops.demo.year.systems import keyed
from tests.acceptance.real import Running
from tests.acceptance.real_year.redmine import rows_in

_CUSTOMERS = """
select p.code, p.name, (select value from party_contact_mechanism m where m.party = p.id and m.type = 'email'
       and m.active order by m.sequence, m.id limit 1) from party_party p
where p.active and p.id <> (select party from company_company)"""
_PRODUCTS = """
select t.code, t.name, (select cast(l.list_price as text) from product_list_price l where l.template = t.id)
from product_template t where t.active"""


class Tryton:
    """`url` is its database's; Sorbus logs in as a user of its own."""

    def __init__(self, running: Running) -> None:
        self.running, self.url = running, f"{running.url}/erp"
        self._database = running.folder / "db" / "erp.sqlite"
        self._user = 0

    def prepare(self) -> str:
        """Makes the company, whose currency prices are in, and Sorbus's user; that user's password."""
        password = secrets.token_hex(12)
        [euro] = self._call("currency.currency.create", [{"name": "Euro", "code": "EUR", "symbol": "€"}])
        [party] = self._call("party.party.create", [{"name": "Brightwater Instruments"}])
        [company] = self._call("company.company.create", [{"party": party, "currency": euro}])
        groups = self._call("res.group.search", [], 0, None, None)
        [self._user] = self._call("res.user.create", [{
            "name": "Sorbus", "login": "sorbus", "password": password, "groups": [["add", groups]],
            "companies": [["add", [company]]], "company": company,
        }])  # fmt: skip
        return password

    def set_password(self, password: str) -> None:
        """Somebody gives Sorbus's user another password."""
        self._call("res.user.write", [self._user], {"password": password})

    def rename(self, number: str, name: str) -> None:
        """Somebody gives a customer another name."""
        found = self._call("party.party.search", [["code", "=", number]], 0, None, None)
        self._call("party.party.write", found, {"name": name})

    def customers(self) -> Rows:
        """Customer's number -> name, address."""
        return keyed("tryton.customers", rows_in(self._database, _CUSTOMERS))

    def products(self) -> Rows:
        """Article -> name, price."""
        return keyed("tryton.products", rows_in(self._database, _PRODUCTS))

    def _call(self, method: str, *arguments: object) -> list[int]:
        with httpx.Client(base_url=f"{self.url}/", timeout=120) as client:
            login = {"id": 1, "method": "common.db.login", "params": ["admin", {"password": "adminpw"}]}
            id, key = client.post("", json=login).json()["result"]
            session = base64.b64encode(f"admin:{id}:{key}".encode()).decode()
            body = {"id": 2, "method": f"model.{method}", "params": [*arguments, {}]}
            answer = client.post("", json=body, headers={"Authorization": f"Session {session}"}).json()
        assert "error" not in answer, answer
        found = answer["result"]
        return found if isinstance(found, list) else []
