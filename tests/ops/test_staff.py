"""The example's people in containers: numbers that the ledger takes, after any number of restarts and outages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

import psycopg
import pytest

from sorbus.ops.demo.crm_feed import CRM_FEED, next_number
from sorbus.ops.demo.seed import seed_crm
from tests.consumers.line import eventually

CRM = (Path(__file__).parents[2] / "examples" / "company" / "crm.sql").read_text()
# What the ledger's columns take, after the mapping's `replace("C-", "1")`: accounting.sql says varchar(10).
TOO_LONG = "select customer_no from customers where length(replace(customer_no, 'C-', '1')) > 10"


@pytest.fixture
def crm(make_database: Callable[[str], str]) -> str:
    """A CRM with a handful of rows."""
    dsn = make_database(CRM)
    with psycopg.connect(dsn) as connection:
        seed_crm(connection, scale=0.02)
    return dsn


def test_each_run_goes_on_above_what_the_last_one_made_with_numbers_that_fit(crm: str) -> None:
    seen = []
    with psycopg.connect(crm, autocommit=True) as connection:
        for _ in range(3):
            start = next_number(connection)
            for number in range(start, start + 60):
                CRM_FEED.step(connection, number)
            seen.append((start, next_number(connection)))
        made = connection.execute("select count(*) from customers where customer_no > 'C-11'").fetchone()
        assert made is not None
        assert made[0] > 3
        assert connection.execute(TOO_LONG).fetchall() == []
    assert seen[0][0] == 0
    assert all(before < after for before, after in seen), "new rows were made"
    assert [after for _, after in seen[:-1]] == [start for start, _ in seen[1:]]


@pytest.mark.parametrize("column", ["customer_no", "order_no", "sku"])
def test_a_number_of_any_table_is_not_given_twice(crm: str, column: str) -> None:
    table, value = {
        "customer_no": ("customers", "C-110500"),
        "order_no": ("orders", "SO-200500"),
        "sku": ("products", "FUR-100500"),
    }[column]
    with psycopg.connect(crm, autocommit=True) as connection:
        connection.execute(f"update {table} set {column} = %s where ctid = (select max(ctid) from {table})", [value])
        assert next_number(connection) == 501


def test_people_wait_while_the_database_is_away_and_go_on_with_the_next_deed(crm: str) -> None:
    stop, reached, said = Event(), list[int](), list[str]()
    told = {"reached": reached.append, "said": said.append}
    work = Thread(target=CRM_FEED.run, args=(crm,), kwargs={"rate": 50.0, "stop": stop, **told}, daemon=True)
    work.start()
    try:
        eventually(lambda: len(said) > 5, "the first deeds")
        with psycopg.connect(crm) as connection:
            ended = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = %s"
            connection.execute(ended + " and datname = current_database()", ["the demo's staff"])
        eventually(lambda: any("people wait" in words for words in said), "that the outage is said")
        before = len(reached)
        eventually(lambda: len(reached) > before + 5, "deeds after the outage")
    finally:
        stop.set()
        work.join(10)
    assert not work.is_alive()
    assert reached == sorted(set(reached)), "no deed is done twice"
