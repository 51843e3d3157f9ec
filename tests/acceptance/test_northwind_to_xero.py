"""Northwind's customers as Xero's contacts: each request, and each answer, is one that Xero's own OpenAPI file allows.

The whole line runs: PostgreSQL, capture, Kafka, delivery over HTTP. Prism stands in front of the application and holds
what goes through it to the file; behind it is one that keeps contacts. What they hold is compared with Northwind's rows
by means that have no part in Sorbus.
"""

from __future__ import annotations

import json
import re
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from sorbus.ops.embedded import Addresses
from tests.acceptance.office import Office, Row, rows_of, unlike
from tests.acceptance.real import BESIDE, SPECS, prism
from tests.conftest import Report
from tests.http_api.applications import Asked, Reply, answering

pytestmark = pytest.mark.real
NORTHWIND = BESIDE / "data" / "northwind" / "northwind.sql"
POBOX = "contacts.Addresses[AddressType=POBOX]."
SHEET: list[Row] = [
    ("northwind", "customers.customer_id", "canonical", "customer.number", ""),
    ("northwind", "customers.company_name", "canonical", "customer.name", "value | trim"),
    ("northwind", "customers.contact_name", "canonical", "customer.contact_given_name", "value | first_name"),
    ("northwind", "customers.contact_name", "canonical", "customer.contact_family_name", "value | last_name"),
    ("northwind", "customers.phone", "canonical", "customer.phone", 'value | phone(record.country, unknown="pass")'),
    ("northwind", "customers.address", "canonical", "customer.billing_address_line1", 'value | replace("  ", " ")'),
    ("northwind", "customers.city", "canonical", "customer.billing_address_city", ""),
    ("northwind", "customers.region", "canonical", "customer.billing_address_region", ""),
    ("northwind", "customers.postal_code", "canonical", "customer.billing_address_postal_code",
     'value | postcode(record.country, unknown="pass")'),
    ("northwind", "customers.country", "canonical", "customer.billing_address_country", "value | country"),
    ("canonical", "customer.name", "xero", "contacts.Name", "value | truncate(255)"),
    ("canonical", "customer.number", "xero", "contacts.AccountNumber", ""),
    ("canonical", "customer.contact_given_name", "xero", "contacts.FirstName", ""),
    ("canonical", "customer.contact_family_name", "xero", "contacts.LastName", ""),
    ("canonical", "customer.phone", "xero", "contacts.Phones[PhoneType=DEFAULT].PhoneNumber", ""),
    ("canonical", "customer.billing_address_line1", "xero", POBOX + "AddressLine1", ""),
    ("canonical", "customer.billing_address_city", "xero", POBOX + "City", ""),
    ("canonical", "customer.billing_address_region", "xero", POBOX + "Region", ""),
    ("canonical", "customer.billing_address_postal_code", "xero", POBOX + "PostalCode", ""),
    ("canonical", "customer.billing_address_country", "xero", POBOX + "Country",
     "value | country_name"),
]  # fmt: skip
JSON = {"Content-Type": "application/json"}
NAMES = {"UK": "United Kingdom", "USA": "United States"}
"""The countries that Northwind and Xero call otherwise."""


class Contacts:
    """An application that keeps contacts, and gives each an id."""

    def __init__(self) -> None:
        self.kept: dict[str, dict[str, object]] = {}
        self._lock = threading.Lock()

    def __call__(self, asked: Asked) -> Reply:
        path = urlsplit(asked.path).path
        if path.endswith("/token"):
            return 200, JSON, b'{"access_token": "a", "token_type": "Bearer", "expires_in": 1800}'
        if asked.method == "GET":
            id = path.rpartition("/")[2]
            return 200, JSON, self._answer([self.kept[id]] if id in self.kept else [])
        [given] = json.loads(asked.body)["Contacts"]
        with self._lock:
            id = str(uuid.uuid4()) if asked.method == "PUT" else path.rpartition("/")[2]
            self.kept[id] = {**self.kept.get(id, {"ContactStatus": "ACTIVE"}), **given, "ContactID": id}
        return 200, JSON, self._answer([self.kept[id]])

    def by_number(self) -> dict[str, dict[str, object]]:
        """Account number -> what is kept, flat."""
        return {str(each["AccountNumber"]): flat(each) for each in self.kept.values()}

    @staticmethod
    def _answer(contacts: list[dict[str, object]]) -> bytes:
        return json.dumps({"Contacts": contacts}).encode()


def flat(contact: Mapping[str, object]) -> dict[str, object]:
    """A contact with its billing address and telephone number beside its other fields."""
    addresses, phones = contact["Addresses"], contact["Phones"]
    assert isinstance(addresses, list)
    assert isinstance(phones, list)
    [address] = [each for each in addresses if each["AddressType"] == "POBOX"]
    [phone] = [each for each in phones if each["PhoneType"] == "DEFAULT"]
    number = str(phone["PhoneNumber"])
    name = " ".join(filter(None, (contact.get("FirstName"), contact.get("LastName"))))  # type: ignore[arg-type]
    whole = {"Name": contact["Name"], "Person": name, "Digits": "".join(filter(str.isdigit, number))}
    return {**whole, **{field: address.get(field) or "" for field in ("AddressLine1", "City", "Region", "Country")}}


def expected(row: Mapping[str, object]) -> dict[str, object]:
    """What Xero is to have of a row, by hand."""
    return {
        "Name": str(row["company_name"]).strip(),
        "Person": row["contact_name"],
        "AddressLine1": " ".join(str(row["address"]).split()),
        "City": row["city"],
        "Region": row["region"] or "",
        "Country": NAMES.get(str(row["country"]), row["country"]),
    }


def test_all_of_northwinds_customers_are_contacts_that_xeros_own_description_allows(
    stack: Addresses, make_database: Callable[[str], str], unique: str, tmp_path: Path, report: Report
) -> None:
    if not NORTHWIND.is_file():
        pytest.skip(f"{NORTHWIND} is not there: sample data lie beside the checkout")
    contacts = Contacts()
    with (
        answering(contacts) as (upstream, _),
        prism(tmp_path, SPECS / "xero" / "xero_accounting.yaml", upstream) as server,
    ):
        env = {**stack.env(), "NORTHWIND_DSN": make_database(NORTHWIND.read_text("utf-8")),
               "SORBUS_DATABASE": make_database(""), "XERO_SECRET": "b"}  # fmt: skip
        office = Office(tmp_path, unique, env)
        connection = {
            "api": "xero", "base_url": server.url, "token_url": f"{upstream}/token", "tenant_id": str(uuid.uuid4()),
            "client_id": "a", "client_secret": "${XERO_SECRET}", "grant": "client_credentials", "limits": [],
        }  # fmt: skip
        office.write(
            {
                "systems": {
                    "northwind": {"kind": "postgres", "connection": {"dsn": "${NORTHWIND_DSN}"}, "owner": "Sales"},
                    "xero": {"kind": "http", "connection": connection, "owner": "Finance"},
                },
                "data_types": {
                    "customer": {"system_of_record": "northwind", "source": {"table": "customers"}, "partitions": 2}
                },
                "flows": [{"data_type": "customer", "to": "xero", "target": {"resource": "contacts"}}],
            },
            SHEET,
        )
        office.sorbus("map", "check")
        office.sorbus("apply", "--yes")
        rows = rows_of(env["NORTHWIND_DSN"], "select * from customers")
        wanted = {str(row["customer_id"]): expected(row) for row in rows}
        with office.up():
            office.until(lambda: unlike(contacts.by_number(), wanted), 120)
        assert office.sorbus("waiting", "list") == "", "no waiting records"
        assert "No dead letters" in office.sorbus("dlq", "list")
        nonsense = {"Contacts": [{"Name": {"not": "text"}}]}
        headers = {"Authorization": "Bearer a", "Xero-Tenant-Id": str(uuid.uuid4())}
        refused = httpx.put(f"{server.url}/Contacts", json=nonsense, headers=headers)
        assert refused.status_code == 422, "Prism looks at what it is sent"

    said = (tmp_path / "prism.log").read_text("utf-8", "replace")
    received = Counter(re.findall(r"\[HTTP SERVER\] (\w+) /Contacts\W.*Request received", said))
    forwarded = Counter(re.findall(r'Forwarding "(\w+)" request', said))
    digits = {str(row["customer_id"]): "".join(filter(str.isdigit, str(row["phone"]))) for row in rows}
    found = {key: str(each["Digits"]) for key, each in contacts.by_number().items()}
    plain = sum(found[key] == digits[key] for key in digits)
    report(
        f"Northwind to Xero: {len(contacts.kept)} contacts of {len(wanted)} customers; through Prism {dict(forwarded)},"
        f" refused by it {(received - forwarded).total() - 1}; {len(wanted) - plain} numbers in E.164, {plain}"
        " as they were written (none of their country today)"
    )
    assert received - forwarded == {"put": 1}, "the nonsense alone was refused"
    assert forwarded["put"] == len(contacts.kept) == len(wanted) == 91
    assert all(found[key].endswith(digits[key][-6:]) for key in digits)
    assert plain == 24  # of 1996: 16 have fewer or more digits than their country's have today, 8 lack the area code
