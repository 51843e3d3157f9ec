"""Invoices before their customers, and customers that lack something: they wait, others go on, and all land.

What is compared is SQL on one side and the application's own records on the other; Sorbus's code has no part in it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from sorbus.ops.embedded import Addresses
from tests.acceptance.office import Office, execute, rows_of
from tests.http_api.faulty import Faulty

SORBUS = str(Path(sys.executable).with_name("sorbus"))
TABLES = """
create table customers (id bigint primary key, name text not null, tax_number text);
create table invoices (id bigint primary key, number text not null, customer_id bigint not null);
insert into customers select n, 'Customer ' || n, 'DE' || 100000000 + n from generate_series(1, 20) n;
insert into invoices select 1000 + n, 'Invoice ' || n, 1 + n % 20 from generate_series(1, 60) n;
"""
TEXT = ["null", "string"]
SCHEMAS: dict[str, list[object]] = {
    "client": [{"name": "name", "type": "string"}, {"name": "tax_number", "type": TEXT, "default": None}],
    "bill": [{"name": "number", "type": "string"}, {"name": "customer_id", "type": "long"}],
}
ROWS = [
    ("canonical", "client.name", "desk", "contacts.name", ""),
    ("canonical", "client.tax_number", "desk", "contacts.tax_number", ""),
    ("canonical", "bill.number", "desk", "contacts.name", ""),
    ("canonical", "bill.customer_id", "desk", "contacts.city", 'value | id_in("client")'),
]


@pytest.fixture
def office(
    stack: Addresses, make_database: Callable[[str], str], unique: str, tmp_path: Path, faulty: Faulty
) -> Office:
    env = {**stack.env(), "CRM_DSN": make_database(TABLES), "SORBUS_DATABASE": make_database("")}
    return Office(tmp_path, unique, {**env, "DESK_KEY": faulty.api_key})


def write(office: Office, faulty: Faulty, client: dict[str, object], bill: dict[str, object]) -> None:
    """The map; `client` and `bill` are added to the flows."""
    faulty.auth = "key"
    connection = {"api": faulty.describe(office.folder), "base_url": faulty.base_url, "api_key": "${DESK_KEY}"}
    plain: dict[str, object] = {"to": "desk", "target": {"resource": "contacts"}, "on_duplicate": "create"}
    office.write(
        {
            "systems": {
                "crm": {"kind": "postgres", "connection": {"dsn": "${CRM_DSN}"}, "owner": "Sales"},
                "desk": {"kind": "http", "connection": connection, "owner": "Support"},
            },
            "data_types": {
                "client": {"system_of_record": "crm", "source": {"table": "customers"}, "partitions": 2},
                "bill": {"system_of_record": "crm", "source": {"table": "invoices"}, "partitions": 2},
            },
            "flows": [{**plain, "data_type": "client", **client}, {**plain, "data_type": "bill", **bill}],
        },
        ROWS,
        SCHEMAS,
    )


@contextmanager
def running(office: Office, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process of Sorbus's while the block lasts."""
    with office.log.open("ab") as log:
        process = subprocess.Popen(
            [SORBUS, *arguments], env=office.env, cwd=office.folder, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(10)


def waits(office: Office, *options: str) -> dict[str, dict[str, object]]:
    """What `sorbus waiting list` shows, by id."""
    lines = office.sorbus("waiting", "list", "--most", "500", "--json", *options).splitlines()
    return {str(one["id"]): one for one in map(json.loads, lines)}


def letters(office: Office) -> list[dict[str, object]]:
    return [json.loads(line) for line in office.sorbus("dlq", "list", "--json").splitlines()]


def wrong_bills(office: Office, faulty: Faulty) -> str:
    """How the application's bills differ from the owner's, each with the application's own id of its customer."""
    there = {one["our_id"]: one for one in faulty.contacts().values()}
    clients = {int(id): one["id"] for id, one in there.items() if str(id).isdigit() and int(id) < 1000}
    wanted = {
        str(row["id"]): (row["number"], str(clients.get(row["customer_id"])))  # type: ignore[call-overload]
        for row in rows_of(office.env["CRM_DSN"], "select * from invoices")
    }
    found = {id: (one["name"], one["city"]) for id, one in there.items() if int(id) >= 1000}
    return "" if found == wanted else f"{len(found)} of {len(wanted)}: {sorted(wanted.items() - found.items())[:5]}"


def test_bills_wait_for_their_clients_and_land_in_order(faulty: Faulty, office: Office) -> None:
    write(office, faulty, {}, {})
    crm = office.env["CRM_DSN"]
    office.sorbus("apply", "--yes")
    with ExitStack() as processes:

        def start(*words: str) -> subprocess.Popen[bytes]:
            return processes.enter_context(running(office, *words))

        start("produce", "crm")
        first = start("consume", "bill-to-desk")
        office.until(lambda: "" if len(waits(office)) == 60 else f"{len(waits(office))} of 60 wait", seconds=90)
        shown = waits(office, "--flow", "bill-to-desk")["1001"]
        assert shown["message"] == "client 2 isn't in desk/contacts yet"
        assert faulty.writes == []
        told = office.sorbus("preview", "bill-to-desk", "1001", status=1)
        assert "wait: client 2 isn't in desk/contacts yet" in " ".join(told.split())
        execute(
            crm,
            "update invoices set number = number || ' (2)' where id % 2 = 0",
            "delete from invoices where id = 1005",
        )
        office.until(lambda: [id for id, one in waits(office).items() if id == "1005"], seconds=60)
        os.killpg(first.pid, signal.SIGKILL)
        start("consume", "client-to-desk")
        office.until(lambda: "" if len(faulty.contacts()) >= 10 else "no clients yet", seconds=60, every=0.05)
        start("consume", "bill-to-desk")
        office.until(lambda: wrong_bills(office, faulty), seconds=90)
        execute(crm, "update invoices set number = number || ' (3)' where id = 1007")
        office.until(lambda: wrong_bills(office, faulty) or waits(office), seconds=60)
    assert letters(office) == []
    assert faulty.doubles("our_id") == {}


@pytest.mark.slow
def test_what_waits_too_long_is_a_letter_and_what_lacks_something_is_held_until_filled_in(
    faulty: Faulty, office: Office
) -> None:
    write(office, faulty, {"on_incomplete": "hold", "required": ["tax_number"]}, {"wait_limit": "4s"})
    crm = office.env["CRM_DSN"]
    execute(crm, "update customers set tax_number = null where id = 7", "delete from invoices where id > 1030")
    office.sorbus("apply", "--yes")
    with ExitStack() as processes:

        def start(*words: str) -> subprocess.Popen[bytes]:
            return processes.enter_context(running(office, *words))

        for words in (("produce", "crm"), ("consume", "client-to-desk"), ("consume", "bill-to-desk")):
            start(*words)
        office.until(lambda: "" if letters(office) else "no letter yet", seconds=90)
        office.until(lambda: "" if len(faulty.contacts()) == 19 + 28 else len(faulty.contacts()), seconds=60)
        held = waits(office)
        assert {id: one["message"] for id, one in held.items()} == {
            "7": "client 7 lacks tax_number, needed by desk; ask Sales"
        }
        letter, other = [one for one in letters(office) if one["flow"] == "bill-to-desk"]
        assert {letter["record"], other["record"]} == {"1006", "1026"}
        assert letter["reason"] == "reference"
        assert "client 7 isn't in desk/contacts yet; it has waited for 4s. See why client 7" in str(letter["message"])
        assert "hold: client 7 lacks" in " ".join(office.sorbus("preview", "client-to-desk", "7", status=1).split())
        assert "client-to-desk: 1 wait, which lack something" in office.sorbus("status")
        execute(crm, "update customers set tax_number = 'DE100000007' where id = 7")
        office.until(lambda: waits(office), seconds=60)
        office.sorbus("dlq", "requeue", "--flow", "bill-to-desk")
        office.until(lambda: wrong_bills(office, faulty) or letters(office), seconds=60)
