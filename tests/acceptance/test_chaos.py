"""Everything goes wrong at once while a company works, again and again; in the end every row is equal."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from sorbus.ops.demo.random_changes import churn
from sorbus.ops.demo.seeded_random import SeededRandom

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.acceptance.conftest import Plant

pytestmark = pytest.mark.slow

PROCESSES = (
    "produce northwind",
    "consume order-to-reporting",
    "consume order-to-accounting",
    "consume customer-to-accounting",
    "consume employee-to-reporting",
    "consume product-to-reporting",
)
ACCIDENTS = 15


@pytest.mark.parametrize("seed", [1, 2])
def test_accidents_at_random_moments_lose_and_double_nothing(northwind_plant: Plant, seed: int) -> None:
    plant, chance = northwind_plant, SeededRandom(seed)
    accidents: list[Callable[[], object]] = [
        lambda: plant.kill(chance.choice(PROCESSES)),
        lambda: _hang_up(plant, plant.company.source),
        lambda: _hang_up(plant, chance.choice(["accounting", "reporting"])),
        lambda: _shut_out(plant, chance.choice(["accounting", "reporting"]), seconds=chance.uniform(0.5, 6)),
    ]
    with plant.up(), ThreadPoolExecutor(1) as staff:
        plant.wait_until(lambda: plant.count("reporting", "orders") > 0, 90, lambda: "no order in reporting")
        for number in range(ACCIDENTS):
            work = staff.submit(churn, plant.source, 200, 100 * seed + number)
            # Not a wait for anything: the accident falls into some moment of the work.
            time.sleep(chance.uniform(0, 1.5))
            chance.choice(accidents)()
            assert work.result(120).total() == 200
        plant.wait_until_equal(seconds=240)


def _hang_up(plant: Plant, database: str) -> None:
    """Ends Sorbus's connections to one of the databases, as a fail-over or a firewall does."""
    with psycopg.connect(plant.dsns[database], autocommit=True) as connection:
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and application_name like 'sorbus%'"
        )


def _shut_out(plant: Plant, database: str, *, seconds: float) -> None:
    """A database that takes no connections for a while."""
    name = sql.Identifier(str(conninfo_to_dict(plant.dsns[database])["dbname"]))
    with psycopg.connect(plant.env["SORBUS_DATABASE"], autocommit=True) as connection:
        connection.execute(sql.SQL("alter database {} connection limit 0").format(name))
        connection.execute(sql.SQL("alter database {} allow_connections false").format(name))
        try:
            connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s",
                [conninfo_to_dict(plant.dsns[database])["dbname"]],
            )
            time.sleep(seconds)
        finally:
            connection.execute(sql.SQL("alter database {} allow_connections true").format(name))
            connection.execute(sql.SQL("alter database {} connection limit -1").format(name))
