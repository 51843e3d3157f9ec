"""Northwind from PostgreSQL through Kafka into two databases, compared row by row by independent SQL."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import pytest

from sorbus.ops.demo.random_changes import churn

if TYPE_CHECKING:
    from tests.acceptance.conftest import Plant

COPIED = {
    ("reporting", "customers"): 91, ("reporting", "products"): 77, ("reporting", "employees"): 9,
    ("reporting", "orders"): 830, ("reporting", "order_lines"): 2155,
    ("accounting", "debtors"): 91, ("accounting", "articles"): 77, ("accounting", "staff"): 9,
    ("accounting", "sales_orders"): 830, ("accounting", "sales_order_lines"): 2155,
}  # fmt: skip


def test_every_row_arrives_in_both_targets_and_stays_equal_through_changes(northwind_plant: Plant) -> None:
    plant = northwind_plant
    with plant.up():
        plant.wait_until_equal()
        assert {(database, table): plant.count(database, table) for database, table in COPIED} == COPIED
        assert churn(plant.source, 300, seed=11).total() == 300
        plant.wait_until_equal()


VICTIMS = (
    "produce northwind",
    "consume order-to-reporting",
    "consume order-to-accounting",
    "consume employee-to-reporting",
    "consume customer-to-accounting",
)


@pytest.mark.slow
def test_ten_thousand_random_changes_end_in_equal_rows(northwind_plant: Plant) -> None:
    plant = northwind_plant
    with plant.up():
        plant.wait_until_equal()
        assert churn(plant.source, 10_000, seed=12).total() == 10_000
        plant.wait_until_equal(seconds=180)


@pytest.mark.slow
def test_killing_producer_and_consumers_in_the_middle_loses_and_doubles_nothing(northwind_plant: Plant) -> None:
    plant = northwind_plant
    with plant.up(), ThreadPoolExecutor(1) as staff:
        plant.wait_until(lambda: plant.count("reporting", "orders") > 0, 90, lambda: "no order in reporting")
        for seed in range(3):
            work = staff.submit(churn, plant.source, 1_500, seed)
            plant.wait_until(
                partial(_has_moved, plant, plant.count("reporting", "orders"), work), 60, lambda: "no order"
            )
            for name in VICTIMS:
                assert plant.kill(name), f"{name} isn't running"
            assert work.result(120).total() == 1_500
            plant.wait_until_equal(seconds=180)


@pytest.mark.slow
def test_a_producer_killed_during_the_initial_snapshot_finishes_it(northwind_plant: Plant) -> None:
    plant = northwind_plant
    with plant.up():
        plant.wait_until(lambda: plant.count("accounting", "debtors") > 0, 90, lambda: "no debtor in accounting")
        assert plant.kill("produce northwind")
        churn(plant.source, 500, seed=14)
        plant.wait_until_equal(seconds=180)


@pytest.mark.slow
def test_an_emptied_reporting_database_is_rebuilt_by_replay(northwind_plant: Plant) -> None:
    plant = northwind_plant
    with plant.up():
        plant.wait_until_equal()
        churn(plant.source, 1_000, seed=15)
        plant.wait_until_equal()
        plant.execute("reporting", "truncate customers, products, employees, orders, order_lines")
        assert plant.count("reporting", "orders") == 0
    for data_type in ("customer", "product", "employee", "order"):
        plant.sorbus("replay", f"{data_type}-to-reporting", "--from", "beginning")
    with plant.up():
        churn(plant.source, 200, seed=16)
        plant.wait_until_equal()


@pytest.mark.slow
def test_truncated_tables_are_emptied_in_the_targets_too(northwind_plant: Plant) -> None:
    plant = northwind_plant
    with plant.up():
        plant.wait_until_equal()
        plant.execute("northwind", "truncate order_details")
        plant.execute("northwind", "insert into order_details values (10248, 11, 14.5, 3, 0.05)")
        plant.wait_until_equal()
        assert plant.count("accounting", "sales_order_lines") == 1
        plant.execute("northwind", "begin; truncate orders cascade; delete from products where product_id > 70; commit")
        plant.wait_until_equal()
        assert plant.count("reporting", "orders") == 0


@pytest.mark.slow
def test_columns_that_come_and_go_disturb_nothing(northwind_plant: Plant) -> None:
    plant = northwind_plant
    with plant.up():
        plant.wait_until_equal()
        plant.execute("northwind", "alter table customers add column loyalty integer default 5")
        churn(plant.source, 200, seed=17)
        plant.execute("northwind", "alter table customers drop column fax, alter column company_name type text")
        plant.execute("northwind", "alter table order_details add column remark text")
        churn(plant.source, 200, seed=18)
        plant.execute("northwind", "update order_details set remark = 'fragile' where product_id < 20")
        plant.wait_until_equal()


def _has_moved(plant: Plant, orders: int, work: Future[Counter[str]]) -> bool:
    """Whether the target has followed some of the work, or the work is over."""
    return work.done() or plant.count("reporting", "orders") != orders
