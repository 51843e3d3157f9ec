"""The demo company: its CRM into accounting's own tables and reporting's, through a working day."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

if TYPE_CHECKING:
    from tests.acceptance.conftest import Plant


def test_a_day_at_the_company_ends_with_all_books_equal(company_plant: Plant) -> None:
    plant = company_plant
    plant.execute(
        "accounting", "insert into debtors (debtor_no, account_code, name, bookkeeper) values ('1', '1', 'x', 'Ann')"
    )
    with plant.up():
        plant.wait_until(lambda: plant.count("accounting", "debtors") == 400, 90, lambda: "not 400 debtors")
        with psycopg.connect(plant.source, autocommit=True) as connection:
            for number in range(300):
                plant.company.feed.step(connection, number)
        plant.execute("accounting", "update debtors set bookkeeper = null")
        plant.wait_until_equal()
