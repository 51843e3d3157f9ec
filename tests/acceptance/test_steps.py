"""Orders make deliveries and invoices, payments make balances: end to end, in a PostgreSQL that is compared by SQL."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import chdir
from functools import partial
from pathlib import Path

import pytest

from sorbus.ops.embedded import Addresses
from sorbus.state.database import schema_of
from tests.acceptance.office import Office, execute, rows_of, unlike
from tests.acceptance.steps_company import SCHEMAS, SHEET, found, steps_map
from tests.commands import type_command
from tests.conftest import Report


@pytest.fixture
def office(tmp_path: Path, stack: Addresses, make_database: Callable[..., str], unique: str) -> Office:
    env = {name: make_database() for name in ("CRM_DSN", "BOOKS_DSN", "SORBUS_DATABASE")}
    office = Office(tmp_path, unique, {**stack.env(), **env})
    found(office, env["CRM_DSN"])
    return office


@pytest.mark.slow
def test_an_order_becomes_a_delivery_and_an_invoice_and_payments_a_balance(office: Office) -> None:
    crm, books = office.env["CRM_DSN"], office.env["BOOKS_DSN"]
    execute(
        crm,
        "insert into order_lines values (1, 1, 'a', 2), (1, 2, 'b', 5)",
        "insert into orders values (1, 'kiln', 'confirmed', 10.50, null), (2, 'kiln', 'draft', 3, 'soon')",
        "insert into payments values (1, 'kiln', 10.10, 'A'), (2, 'kiln', 0.20, 'B'), (3, 'moor', 5, null)",
    )
    with office.up():
        office.until(lambda: len(rows_of(books, "select * from invoices")) != 1, 60)
        office.until(lambda: len(rows_of(books, "select * from balances")) != 2, 30)
        assert rows_of(books, "select id, order_id, words from deliveries") == [
            {"id": "1", "order_id": "1", "words": "for kiln: -"}
        ]
        assert [row["sku"] for row in rows_of(books, "select sku from items order by position")] == ["A", "B"]
        execute(
            crm,
            "update orders set status = 'confirmed' where id = 2",
            "update orders set status = 'cancelled' where id = 1",
            "update payments set amount = 10.20 where id = 1",
            "update payments set customer = 'moor' where id = 2",
        )
        office.until(lambda: books_hold(books, [("kiln", "10.20", 1), ("moor", "5.20", 2)], ["2"]), 30)
        assert len(rows_of(books, "select * from lines")) == 3
        execute(crm, "insert into payments values (4, 'moor', null, 'D')")
        office.until(lambda: "moor" not in office.sorbus("dlq", "list", "--json"), 30)
        (letter,) = map(json.loads, office.sorbus("dlq", "list", "--json").splitlines())
        assert letter["record"] == "moor"
        assert "payment 4 can't be added to it" in str(letter)
        plan = json.loads(office.sorbus("plan", "payment-to-balance", "--json", status=1))
        assert (plan["counts"]["nothing"], plan["counts"]["refuse"]) == (1, 1)
        execute(crm, "update payments set amount = 1 where id = 4")
        office.until(lambda: books_hold(books, [("kiln", "10.20", 1), ("moor", "6.20", 3)], ["2"]), 30)
        assert office.sorbus("dlq", "list", "--json") == ""
        before = rows_of(books, "select id, sorbus_version from deliveries")
        office.sorbus("backfill", "delivery", "--id", "2")
        office.until(lambda: rows_of(books, "select id, sorbus_version from deliveries") == before, 30)
        office.sorbus("trace", "delivery", "2", status=None)
    assert "order-to-delivery" in office.sorbus("map", "draw")


@pytest.mark.slow
def test_a_step_that_begins_now_floods_nobody(office: Office) -> None:
    crm, books = office.env["CRM_DSN"], office.env["BOOKS_DSN"]
    company = steps_map(office.prefix)
    company["steps"][0]["begin"] = "now"  # type: ignore[index]
    office.write(company, SHEET, SCHEMAS)
    execute(crm, "insert into orders select n, 'old', 'confirmed', n, null from generate_series(1, 300) n")
    with office.up("--only", "crm"):
        office.until(lambda: planned(office)["earlier"] != 300, 60)
    with office.up():
        office.until(lambda: office.said("begins now: of 300 records, 300 fit") != 1, 60)
        execute(
            crm,
            "update orders set note = 'edited' where id < 100",
            "update orders set status = 'cancelled' where id = 200",
            "insert into orders values (301, 'new', 'confirmed', 1, null)",
        )
        kept = f"{schema_of(f'{office.prefix}.')}.step_record"
        left = f"select 1 from {kept} where id = '200' and new_from is not null"
        office.until(lambda: not rows_of(office.env["SORBUS_DATABASE"], left), 60)
        execute(crm, "update orders set status = 'confirmed' where id = 200")
        office.until(lambda: unless(ids(books), ["200", "301"]), 60)
        office.sorbus("backfill", "delivery", "--id", "7")
        office.until(lambda: unless(ids(books), ["200", "301", "7"]), 30)
    with office.up():  # what it noted is remembered
        execute(crm, "update orders set note = 'edited again' where id < 20")
        office.until(lambda: ids(books) != ["200", "301", "7"] or rows_of(books, LATER) == [], 30)
    assert ids(books) == ["200", "301", "7"]


LATER = "select 1 from deliveries where id = '7' and words like '%edited again'"


def planned(office: Office) -> dict[str, int]:
    """What the step would do, by its plan."""
    return json.loads(office.sorbus("plan", "order-to-delivery", "--json"))["counts"]  # type: ignore[no-any-return]


def unless(found: object, wanted: object) -> str:
    """What was found, unless it is what is wanted."""
    return "" if found == wanted else f"{found}, not {wanted}"


def ids(books: str) -> list[object]:
    return [row["id"] for row in rows_of(books, "select id from deliveries order by id")]


def books_hold(dsn: str, balances: list[tuple[str, str, int]], invoices: list[str]) -> str:
    """What differs from this; "" if nothing does."""
    held = [
        (row["id"], str(row["paid"]), row["payments"]) for row in rows_of(dsn, "select * from balances order by id")
    ]
    made = [row["id"] for row in rows_of(dsn, "select id from invoices order by id")]
    return "" if (held, made) == (balances, invoices) else f"{held} {made}"


CHURN = """
do $$
declare r record;
begin
  insert into orders select n, 'c' || n % 97, (array['draft', 'confirmed', 'shipped', 'cancelled'])[1 + n * 7 % 4],
      n * 1.25, nullif('note ' || n % 5, 'note 0') from generate_series({first}, {last}) n;
  insert into order_lines select n, i, 'sku' || i, n % 9 + i from generate_series({first}, {last}) n,
      generate_series(1, n % 4) i;
  insert into payments select n, 'c' || n % 97, n * 0.01, 'p' || n from generate_series({first}, {last}) n;
  update orders set status = 'confirmed' where id < {first} and id % 11 = {round} % 11;
  update orders set status = 'cancelled' where id < {first} and id % 13 = {round} % 13;
  update order_lines set quantity = quantity + 1 where order_id < {first} and order_id % 17 = {round} % 17;
  update payments set amount = amount + 0.10 where id < {first} and id % 19 = {round} % 19;
  update payments set customer = 'c' || (id + {round}) % 97 where id < {first} and id % 23 = {round} % 23;
  delete from payments where id < {first} and id % 29 = {round} % 29;
  delete from order_lines where order_id in (select id from orders where id < {first} and id % 31 = {round} % 31);
  delete from orders where id < {first} and id % 31 = {round} % 31;
end $$
"""
LEDGER = {
    "deliveries": (
        "select id::text, id::text order_id, customer, 'for ' || customer || ': ' || coalesce(note, '-') words"
        " from orders where status in ('confirmed', 'shipped')",
        "select id, order_id, customer, words from deliveries",
    ),
    "items": (
        "select o.id || ' ' || row_number() over (partition by o.id order by n) id, upper(sku) sku, quantity"
        " from orders o join order_lines on order_id = o.id where status in ('confirmed', 'shipped')",
        "select parent_id || ' ' || position id, sku, quantity from items",
    ),
    "invoices": (
        "select id::text, upper(customer) customer, id::numeric(19,2) total from orders"
        " where status in ('confirmed', 'shipped')",
        "select id, customer, total from invoices",
    ),
    "balances": (
        "select customer id, sum(amount) paid, count(*) payments from payments group by customer",
        "select id, paid, payments from balances",
    ),
    "lines": (
        "select customer || ' ' || row_number() over (partition by customer order by id::text collate \"C\") id,"
        " reference, amount from payments",
        "select parent_id || ' ' || position id, reference, amount from lines",
    ),
}
"""What is made -> what it has to be, from the CRM's own tables, and what the target has."""


@pytest.mark.slow
def test_ten_thousand_orders_and_five_kills_make_each_record_once(office: Office, report: Report) -> None:
    """Every process is killed in the middle of the work; the target must equal the CRM, by SQL that shares no code."""
    crm, books = office.env["CRM_DSN"], office.env["BOOKS_DSN"]
    rounds, each = 20, 500
    began = time.monotonic()
    for kill in range(5):
        with office.killed():
            office.until(partial(is_starting, office, 4 * (kill + 1)), 60)
            for number in range(kill * 4, kill * 4 + 4):
                execute(crm, CHURN.format(first=number * each + 1, last=(number + 1) * each, round=number))
    with office.up():
        office.until(lambda: differences(crm, books), 180)
        took = time.monotonic() - began
        counts = {name: len(rows_of(books, query)) for name, (_, query) in LEDGER.items()}
        report(f"{rounds * each:,} orders and payments, 5 kills: equal after {took:.0f} s: {counts}")
        assert all(counts.values())
        assert office.sorbus("dlq", "list", "--json") == ""
    assert differences(crm, books) == ""


def is_starting(office: Office, times: int) -> bool:
    """Whether its producers have not all begun so often."""
    return office.said("capturing") < times


def differences(crm: str, books: str) -> str:
    """Where the target isn't what the CRM's tables say; "" if nowhere."""
    told = []
    for name, (wanted, held) in LEDGER.items():
        if unalike := unlike(by_id(rows_of(books, held)), by_id(rows_of(crm, wanted))):
            told.append(f"{name}: {unalike}")
    return "\n".join(told)


def by_id(rows: list[dict[str, object]]) -> dict[str, dict[str, object]]:
    """Rows by their id, of which there is one each."""
    found = {str(row["id"]): row for row in rows}
    assert len(found) == len(rows)
    return found


@pytest.mark.slow
def test_a_changed_step_says_so_until_everything_is_made_again(office: Office) -> None:
    crm, books = office.env["CRM_DSN"], office.env["BOOKS_DSN"]
    execute(crm, "insert into orders values (1, 'kiln', 'confirmed', 1, null), (2, 'moor', 'draft', 1, null)")
    with office.up():
        office.until(lambda: unless(ids(books), ["1"]), 60)
    assert "has changed" not in told(office, "plan")
    company = steps_map(office.prefix)
    company["steps"][0]["where"] = 'status == "draft"'  # type: ignore[index]
    office.write(company, SHEET, SCHEMAS)
    for command in ("plan", "doctor"):
        assert "`sorbus backfill delivery`" in told(office, command), command
    with office.up():
        office.until(lambda: office.said("capturing delivery") < 2, 60)
        assert "`sorbus backfill delivery`" in told(office, "plan")
        office.sorbus("backfill", "delivery")
        office.until(lambda: unless(ids(books), ["2"]), 60)
        office.until(lambda: "has changed" in told(office, "plan"), 30)


@pytest.mark.slow
def test_what_a_step_kept_of_an_erased_record_is_named_and_can_be_erased(office: Office) -> None:
    crm, books = office.env["CRM_DSN"], office.env["BOOKS_DSN"]
    company = steps_map(office.prefix)
    company["steps"][0]["on_leave"] = "keep"  # type: ignore[index]
    office.write(company, SHEET, SCHEMAS)
    execute(crm, "insert into orders values (1, 'Ann Lee', 'confirmed', 1, null), (2, 'moor', 'confirmed', 1, null)")
    with office.up():
        office.until(lambda: unless(ids(books), ["1", "2"]), 60)
        assert "it is made of order 1: delete that in crm first" in refusal(office, "delivery", "1")
        execute(crm, "delete from orders")
        office.until(lambda: "crm still has it" in refusal(office, "order", "1"), 60)
        assert "`sorbus forget delivery 1`" in office.sorbus("forget", "order", "1", "--yes", status=1)
        assert "`sorbus backfill delivery --id 1`" in refusal(office, "delivery", "1")
    company["steps"][0]["on_leave"] = "delete"  # type: ignore[index]
    office.write(company, SHEET, SCHEMAS)
    with office.up():
        office.until(lambda: office.said("capturing delivery") < 2, 60)
        office.sorbus("backfill", "delivery", "--id", "1")
        office.until(lambda: unless(ids(books), ["2"]), 60)
        office.sorbus("forget", "delivery", "1", "--yes", status=None)
        office.until(lambda: "still has it" in refusal(office, "delivery", "1"), 30)


def refusal(office: Office, data_type: str, id: str) -> str:
    """Why a record can't be erased, if so."""
    return told(office, "forget", data_type, id, "--dry-run")


def told(office: Office, *words: str) -> str:
    """All that a command says, warnings and errors too."""
    with chdir(office.folder):
        return type_command(*words, env=office.env).output
