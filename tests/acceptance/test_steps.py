"""Orders make deliveries and invoices, payments make balances: end to end, in a PostgreSQL that is compared by SQL."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sorbus.ops.embedded import Addresses
from tests.acceptance.office import Office, execute, rows_of
from tests.acceptance.steps_company import found


@pytest.fixture
def office(tmp_path: Path, stack: Addresses, make_database: Callable[..., str], unique: str) -> Office:
    env = {name: make_database() for name in ("CRM_DSN", "BOOKS_DSN", "SORBUS_DATABASE")}
    office = Office(tmp_path, unique, {**stack.env(), **env})
    found(office, env["CRM_DSN"])
    return office


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


def books_hold(dsn: str, balances: list[tuple[str, str, int]], invoices: list[str]) -> str:
    """What differs from this; "" if nothing does."""
    held = [
        (row["id"], str(row["paid"]), row["payments"]) for row in rows_of(dsn, "select * from balances order by id")
    ]
    made = [row["id"] for row in rows_of(dsn, "select id from invoices order by id")]
    return "" if (held, made) == (balances, invoices) else f"{held} {made}"
