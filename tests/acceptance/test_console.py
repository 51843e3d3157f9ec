"""A morning at the console, in a real browser: three of 5,000 records could not pass, for two causes.

One is edited and sent back, one closes by itself because its owner mended it, one goes on after the map is mended; the
audit trail tells all of it. What is compared in the end is SQL on both sides; Sorbus's code has no part in it.

With SORBUS_PICTURES=FOLDER the pages are photographed for the documentation.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from sorbus.ops.embedded import Addresses
from tests.acceptance.office import Office, execute, rows_of
from tests.ops.console.browser import opened

SORBUS = str(Path(sys.executable).with_name("sorbus"))
RECORDS = 5_000
LONG, PLATINUM, MENDED = 1_017, 2_018, 3_019
NAME = "Brightwater & Sons (the firm that was once two firms), of Lower Marsh"
TABLES = f"""
create table customers (id bigint primary key, name text not null, terms text not null);
insert into customers
    select n, 'Customer ' || n, (array['cash', 'net 30'])[1 + n % 2] from generate_series(1, {RECORDS}) n;
update customers set name = '{NAME}' where id = {LONG};
update customers set terms = 'net 45' where id in ({PLATINUM}, {MENDED});
"""
LOOKUP = {"cash": "C", "net 30": "N30"}
ROWS = [
    ("crm", "customers.name", "canonical", "client.name", ""),
    ("crm", "customers.terms", "canonical", "client.terms", ""),
    ("canonical", "client.name", "accounting", "debtors.name", ""),
    ("canonical", "client.terms", "accounting", "debtors.terms_code", 'value | lookup("terms")'),
]
SCHEMA: list[object] = [{"name": "name", "type": "string"}, {"name": "terms", "type": "string"}]
FLOW = "client-to-accounting"


def write(office: Office, lookup: dict[str, str]) -> None:
    """The map, with this table of payment terms."""
    office.write(
        {
            "company": "Larkspur",
            "systems": {
                "crm": {"kind": "postgres", "connection": {"dsn": "${CRM_DSN}"}, "owner": "Sales"},
                "accounting": {"kind": "postgres", "connection": {"dsn": "${BOOKS_DSN}"}, "owner": "Finance"},
            },
            "data_types": {"client": {"system_of_record": "crm", "source": {"table": "customers"}, "partitions": 2}},
            "flows": [{"data_type": "client", "to": "accounting", "target": {"table": "debtors", "existing": True}}],
            "lookups": {"terms": lookup},
        },
        ROWS,
        {"client": SCHEMA},
    )


@pytest.fixture
def office(stack: Addresses, make_database: Callable[[str], str], unique: str, tmp_path: Path) -> Office:
    books = make_database(
        "create table debtors (id bigint primary key, name text not null, terms_code text not null,"
        " constraint short_name check (length(name) <= 40))"
    )
    env = {**stack.env(), "CRM_DSN": make_database(TABLES), "BOOKS_DSN": books, "SORBUS_DATABASE": make_database("")}
    made = Office(tmp_path, unique, env)
    write(made, LOOKUP)
    return made


@contextmanager
def running(office: Office, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process of Sorbus's while the block lasts, or until it is stopped."""
    with office.log.open("ab") as log:
        process = subprocess.Popen(
            [SORBUS, *words], env=office.env, cwd=office.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def wrong_books(office: Office) -> str:
    """How the books differ from the customers, by SQL's own idea of both."""
    wanted = {
        row["id"]: row
        for row in rows_of(
            office.env["CRM_DSN"],
            "select id, case id when 1017 then 'Brightwater & Sons' else name end as name,"
            " case terms when 'cash' then 'C' when 'net 30' then 'N30' when 'net 45' then 'N45' end as terms_code"
            " from customers",
        )
    }
    found = {row["id"]: row for row in rows_of(office.env["BOOKS_DSN"], "select * from debtors")}
    different = [id for id in wanted if found.get(id) != wanted[id]]
    return "" if found == wanted else f"{len(found)} of {len(wanted)}; different: {different[:5]}"


def in_books(office: Office, id: int) -> bool:
    return bool(rows_of(office.env["BOOKS_DSN"], f"select 1 from debtors where id = {id}"))


class Walk:
    """Somebody at the console."""

    def __init__(self, office: Office, page: Page) -> None:
        self.office, self.page = office, page
        found = re.search(r'"event": "the console is open".*"at": "([^"]+)"', office.log.read_text("utf-8"))
        assert found, office.last_words()
        self.url = found[1]

    def groups(self) -> dict[str, int]:
        """What the page of dead letters says: reason -> how many; all at once, for the page follows what happens."""
        self.page.goto(f"{self.url}/letters")
        rows = self.page.locator("table tbody tr").evaluate_all(
            "rows => rows.map(row => [row.querySelector('th').innerText, row.querySelector('td').innerText])"
        )
        return {reason: int(count.split()[0]) for reason, count in rows}

    def letter(self, reason: str, record: int) -> None:
        """Opens a letter by way of its group."""
        self.page.goto(f"{self.url}/letters")
        self.page.get_by_role("link", name=reason).click()
        self.page.get_by_role("link", name=f"client {record}", exact=True).click()
        expect(self.page.get_by_role("heading", level=1)).to_contain_text(f"client {record}")

    def picture(self, name: str) -> None:
        if folder := os.environ.get("SORBUS_PICTURES"):
            self.page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


@pytest.mark.browser
def test_two_causes_among_five_thousand_records_are_mended_and_told_of(office: Office) -> None:
    office.sorbus("apply", "--yes")
    with ExitStack() as things:

        def start(*words: str) -> subprocess.Popen[bytes]:
            return things.enter_context(running(office, *words))

        start("produce", "crm")
        consumer = start("consume", FLOW)
        start("console", "--port", "0", "--interval", "1")
        office.until(lambda: "" if office.said("console is open") else "no console", seconds=60)
        office.until(
            lambda: "" if len(rows_of(office.env["BOOKS_DSN"], "select 1 from debtors")) == RECORDS - 3 else "copying",
            seconds=120,
        )
        page = things.enter_context(opened()).new_page(viewport={"width": 1280, "height": 900})
        walk = Walk(office, page)

        page.goto(walk.url)
        expect(page.locator(".figure", has_text="Dead letters").locator("dd")).to_have_text("3", timeout=30_000)
        walk.picture("console-map")
        assert sorted(walk.groups().values()) == [1, 2], "two causes, two lines"
        walk.picture("console-causes")
        (refused,) = [reason for reason, count in walk.groups().items() if count == 1]
        (unknown,) = [reason for reason, count in walk.groups().items() if count == 2]
        assert refused == "Rule violated"

        walk.letter(refused, LONG)
        expect(page.locator("main")).to_contain_text("short_name")
        walk.picture("console-letter")
        page.get_by_role("link", name="Edit and retry").click()
        page.get_by_label("name").fill("Brightwater & Sons")
        walk.picture("console-edit")
        page.get_by_role("button", name="Retry with these values").click()
        office.until(lambda: "" if in_books(office, LONG) else "the edited record isn't in the books", seconds=60)

        walk.letter(unknown, MENDED)
        address = page.url
        execute(office.env["CRM_DSN"], f"update customers set terms = 'cash' where id = {MENDED}")
        office.until(lambda: "" if in_books(office, MENDED) else "the mended record isn't in the books", seconds=60)
        office.until(lambda: "" if walk.groups() == {unknown: 1} else walk.groups(), seconds=60)
        page.goto(address)
        expect(page.get_by_role("heading", level=1)).to_contain_text("replaced by a newer version")

        stop(consumer)
        write(office, {**LOOKUP, "net 45": "N45"})
        office.sorbus("map", "check")
        start("consume", FLOW)
        page.goto(f"{walk.url}/letters")
        page.get_by_role("link", name=unknown).click()
        page.get_by_label("all 1").check()
        page.get_by_role("button", name="Retry").click()
        expect(page.get_by_role("status")).to_contain_text("1 dead letter will be retried")
        office.until(lambda: wrong_books(office), seconds=90)
        office.until(lambda: walk.groups(), seconds=60)

        page.goto(f"{walk.url}/audit")
        told = page.locator("main").inner_text()
        walk.picture("console-audit")
        for deed in ("edit", "requeue", "supersede"):
            assert deed in told, f"the audit trail says nothing of {deed}:\n{told}"
        for record in (LONG, MENDED):
            assert str(record) in told, f"the audit trail says nothing of client {record}:\n{told}"
