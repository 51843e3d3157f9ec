"""Reads each system with its own tools (SQL, MariaDB's client, ldapsearch, SQLite, openpyxl), as ledger.py writes it.

Nothing here is Sorbus's code: what it finds is what a person at that system sees.
"""

from __future__ import annotations

import base64
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from functools import cache
from pathlib import Path

import openpyxl
import psycopg

from sorbus.ops.demo.year.ledger import Rows, trimmed
from sorbus.ops.demo.year.servers import BASE, HttpApplication, Mariadb, Slapd

_FOLDER = Path(__file__).with_name("sql")
_BLOCKED = ("erp.customers", "accounting.customers")
"""Where a closed customer is blocked, and nothing more is said of the status."""


class Systems:
    """All of them: `dsns` by the name of the PostgreSQL system."""

    def __init__(
        self,
        dsns: Mapping[str, str],
        accounting: Mariadb,
        directory: Slapd,
        applications: Mapping[str, HttpApplication],
        prices: Path,
    ) -> None:
        self.dsns, self.accounting, self.directory, self.applications, self.prices = (
            dsns,
            accounting,
            directory,
            applications,
            prices,
        )
        self._readers: dict[str, Callable[[], Rows]] = {
            "support.customers": lambda: self._application(
                "support", "select ours, number, name, email, status from people"
            ),
            "mailing.customers": lambda: self._application("mailing", "select ours, number, name, email from people"),
            "support.tickets": self._tickets,
            "directory.employees": self._people,
            "share.products": self._prices,
        }

    def read(self, relation: str) -> Rows:
        """A relation as its system shows it now; ValueError if a key is there twice."""
        if reader := self._readers.get(relation):
            return reader()
        system, _, name = relation.partition(".")
        if system == "accounting":
            return keyed(
                relation, self.accounting.execute(f"set group_concat_max_len = 100000; {queries(system)[name]}")
            )
        with psycopg.connect(self.dsns[system]) as connection:
            return keyed(relation, connection.execute(queries(system)[name].encode()).fetchall())

    def compared(self, relation: str, wanted: Rows) -> Rows:
        """The ledger's rows in the words that this system has for them."""
        if relation in _BLOCKED:
            return {key: (*row[:3], str(row[3] == "INACTIVE").lower()) for key, row in wanted.items()}
        return wanted

    def _application(self, name: str, query: str) -> Rows:
        connection = sqlite3.connect(self.applications[name].database, timeout=30)
        try:
            return keyed(name, connection.execute(query).fetchall())
        finally:
            connection.close()

    def _tickets(self) -> Rows:
        found = self._application("support", "select id, subject, customer, status, minutes from tickets")
        status = {"open": "OPEN", "done": "RESOLVED"}
        return {key: (row[0], row[1], status[row[2]], trimmed(f"{int(row[3]) / 60:.2f}")) for key, row in found.items()}

    def _people(self) -> Rows:
        entries = _ldif(self.directory.search("(objectClass=inetOrgPerson)", f"ou=people,{BASE}"))
        numbers = {entry["dn"][0].lower(): entry["employeeNumber"][0] for entry in entries}
        names = ("employeeNumber", "cn", "uid", "mail", "title", "departmentNumber", "employeeType")
        rows = []
        for entry in entries:
            manager = entry.get("manager", [""])[0]
            rows.append([*(entry.get(name, [""])[0] for name in names), numbers.get(manager.lower(), manager)])
        return keyed("directory.employees", rows)

    def _prices(self) -> Rows:
        _, *rows = openpyxl.load_workbook(self.prices, read_only=True).worksheets[0].iter_rows(values_only=True)
        return keyed(
            "share.products",
            [(sku, name, Decimal(str(price)), Decimal(str(vat))) for sku, name, price, vat in rows],
        )


@cache
def queries(system: str) -> dict[str, str]:
    """Relation -> the query that reads it; the first column is the key."""
    _, *parts = (_FOLDER / f"{system}.sql").read_text("utf-8").split("-- relation: ")
    return {name.strip(): query for name, _, query in (part.partition("\n") for part in parts)}


def keyed(relation: str, rows: Iterable[Sequence[object]]) -> Rows:
    """Rows of a query as a relation: key -> values, NULLs left out; ValueError if a key is there twice."""
    found: Rows = {}
    for key, *values in rows:
        if str(key) in found:
            raise ValueError(f"{relation}: {key} is there twice")
        found[str(key)] = tuple(trimmed(str(value)) for value in values if value is not None)
    return found


def _ldif(text: str) -> list[dict[str, list[str]]]:
    """Entries: attribute -> values."""
    entries = []
    for block in text.strip().split("\n\n"):
        entry: dict[str, list[str]] = {}
        for line in block.splitlines():
            name, _, value = line.partition(":")
            if name and not name.startswith("#"):
                encoded = value.startswith(":")
                entry.setdefault(name, []).append(base64.b64decode(value[1:]).decode() if encoded else value.strip())
        if "dn" in entry:
            entries.append(entry)
    return entries
