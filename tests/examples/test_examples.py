"""The example companies: their maps hold together, ask for no more than they say, and fill the same way each time."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from decimal import Decimal

import psycopg
import pytest

from sorbus.avro.decode import read_record
from sorbus.connector import Change
from sorbus.http_api.load import shipped
from sorbus.map.checks.check import check
from sorbus.map.load import load_map
from sorbus.ops.demo.company import brightwater, examples, fill_if_new
from sorbus.ops.demo.crm_feed import CRM_FEED
from sorbus.ops.demo.feed import Connection
from sorbus.ops.demo.random_changes import churn
from sorbus.ops.demo.seeded_random import SeededRandom
from sorbus.producers.spreadsheet.producer import SpreadsheetProducer

EXAMPLES = {
    "company": 8,
    "northwind": 8,
    "saas": 16,
    "spreadsheets": 2,
    "directory": 2,
    "webhooks": 2,
    "warehouse": 2,
    "singer": 2,
    "mysql": 2,
    "debezium": 2,
    "steps": 3,
    "year": 32,
}
TABLES = ("employees", "customers", "products", "orders", "order_lines")
MakeDatabase = Callable[[str], str]


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_map_has_nothing_to_mend(name: str) -> None:
    loaded = load_map(examples() / name / "map.yaml")
    assert check(loaded) == []
    assert len([flow for flow in loaded.map.flows if flow.runs]) == EXAMPLES[name]


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_names_every_secret_that_its_map_asks_for(name: str) -> None:
    asked = set(re.findall(r"\$\{(\w+)\}", (examples() / name / "map.yaml").read_text("utf-8")))
    offered = re.findall(r"^(\w+)=", (examples() / name / ".env.example").read_text("utf-8"), re.MULTILINE)
    assert set(offered) == asked


def test_the_spreadsheets_are_read_as_their_comments_say() -> None:
    loaded = load_map(examples() / "spreadsheets" / "map.yaml")
    found = {}
    for name in ("employee", "product"):
        source = loaded.source(name)
        for batch in SpreadsheetProducer.scan(loaded.system("share"), source):
            for one in batch:
                assert isinstance(one, Change), one
                found[one.id.decode()] = read_record(source.schema, one.data or b"", 0)[0]
    assert sorted(found) == ["0001", "0002", "0007", "B-001", "B-002", "C-100"]
    assert found["0007"]["name"] == "Jörg Weiß"
    assert (found["0007"]["hired_on"], found["0007"]["weekly_hours"]) == (date(2023, 12, 31), Decimal("19.25"))
    assert (found["B-002"]["unit_price"], found["B-001"]["tax_rate"]) == (Decimal(1024), Decimal("0.2"))


def test_the_saas_map_uses_descriptions_that_come_with_sorbus() -> None:
    systems = load_map(examples() / "saas" / "map.yaml").map.systems.values()
    assert {str(each.connection["api"]) for each in systems if each.kind == "http"} <= set(shipped())


def test_the_company_shows_the_words_of_a_map() -> None:
    company = load_map(examples() / "company" / "map.yaml").map
    assert [name for name, system in company.systems.items() if system.shadow] == ["price_book"]
    assert [flow.id for flow in company.flows if flow.manual] == ["product-to-price_book"]
    assert [flow.id for flow in company.flows if flow.none] == ["employee-to-payroll"]
    assert [flow.id for flow in company.flows if flow.deletes == "soft"] == ["customer-to-reporting"]
    assert [flow.id for flow in company.flows if flow.target.get("existing")] == ["customer-to-accounting"]


def test_the_crm_is_filled_and_fed_the_same_way_each_time(make_database: MakeDatabase) -> None:
    assert _after_a_day(make_database("")) == _after_a_day(make_database(""))


def test_a_database_that_has_tables_is_left_alone(make_database: MakeDatabase) -> None:
    dsn = make_database("create table mine ()")
    assert not fill_if_new(dsn, brightwater().fill["crm"])


def test_a_feed_goes_on_where_it_was(make_database: MakeDatabase) -> None:
    """Deed N depends on N and the database alone, not on what this process did before."""
    whole, halves = make_database(""), make_database("")
    for dsn, runs in ((whole, [range(60)]), (halves, [range(30), range(30, 60)])):
        fill_if_new(dsn, brightwater().fill["crm"])
        for run in runs:
            with psycopg.connect(dsn, autocommit=True) as connection:
                for number in run:
                    CRM_FEED.step(connection, number)
    with psycopg.connect(whole) as one, psycopg.connect(halves) as other:
        assert _digest(one) == _digest(other)


def test_churn_makes_the_changes_asked_for_and_keeps_to_its_seed(make_database: MakeDatabase) -> None:
    first, second = (make_database(_SMALL_NORTHWIND) for _ in range(2))
    done = churn(first, 400, seed=5)
    assert done.total() == 400
    assert len(done) > 15, f"only {sorted(done)}"
    assert churn(second, 400, seed=5) == done


def test_chance_is_the_same_for_the_same_seed_and_number() -> None:
    assert [SeededRandom(1, 7).random(), SeededRandom(1, 7).random()] == [SeededRandom(1, 7).random()] * 2
    assert len({SeededRandom(1, number).random() for number in range(50)}) == 50


def _after_a_day(dsn: str) -> list[str]:
    fill_if_new(dsn, brightwater().fill["crm"])
    with psycopg.connect(dsn, autocommit=True) as connection:
        for number in range(60):
            CRM_FEED.step(connection, number)
        return _digest(connection)


def _digest(connection: Connection) -> list[str]:
    """One line per table, the same for the same rows; times that the database itself set aside."""
    found = []
    for table in TABLES:
        query = f"select count(*) || md5(string_agg(t::text, '' order by t::text)) from {table} t"
        row = connection.execute(query.encode()).fetchone()
        assert row is not None
        found.append(f"{table} {row[0]}")
    return found


_SMALL_NORTHWIND = """
create table customers (
    customer_id varchar(5) primary key, company_name varchar(40) not null, contact_name varchar(30),
    contact_title varchar(30), address varchar(60), city varchar(15), region varchar(15), postal_code varchar(10),
    country varchar(15), phone varchar(24));
create table products (
    product_id smallint primary key, product_name varchar(40) not null, supplier_id smallint, category_id smallint,
    quantity_per_unit varchar(20), unit_price real, units_in_stock smallint, discontinued integer not null);
create table employees (
    employee_id smallint primary key, last_name varchar(20) not null, first_name varchar(10) not null,
    title varchar(30), birth_date date, city varchar(15), country varchar(15), extension varchar(4), photo bytea,
    notes text, reports_to smallint);
create table orders (
    order_id smallint primary key, customer_id varchar(5) references customers, employee_id smallint,
    order_date date, required_date date, shipped_date date, ship_via smallint, freight real, ship_name varchar(40),
    ship_country varchar(15));
create table order_details (
    order_id smallint references orders, product_id smallint references products, unit_price real not null,
    quantity smallint not null, discount real not null, primary key (order_id, product_id));
insert into employees (employee_id, last_name, first_name) select n, 'Last', 'First' from generate_series(1, 9) n;
insert into products (product_id, product_name, discontinued) select n, 'Product', 0 from generate_series(1, 9) n;
"""
