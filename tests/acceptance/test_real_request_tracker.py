"""The CRM's customers as users of a real Request Tracker."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from sorbus.ops.embedded import Addresses
from tests.acceptance.customers import CRM_ROWS, CRM_TABLE, Application, Customer, follow, office_map, sheet
from tests.acceptance.office import Office
from tests.acceptance.real import Running, request_tracker
from tests.conftest import Report

pytestmark = pytest.mark.real
DATABASE = Path("/var/lib/dbconfig-common/sqlite3/request-tracker5/rtdb")


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    if DATABASE.is_file():
        disable_earlier_runs()
    with request_tracker(tmp_path / "rt") as running:
        if not DATABASE.is_file():
            pytest.skip(f"Request Tracker's database is not at {DATABASE}: it is counted there")
        yield running


def disable_earlier_runs() -> None:
    """The database is the machine's and outlives a run, and these users look so alike that a person would be asked."""
    with closing(sqlite3.connect(DATABASE)) as connection, connection:
        connection.execute(
            "update Principals set Disabled = 1"
            " where id in (select id from Users where EmailAddress like '%@example.test')"
        )


def users(mark: str) -> list[Mapping[str, object]]:
    """Request Tracker's own tables: users of this run that aren't disabled."""
    with sqlite3.connect(f"{DATABASE.as_uri()}?mode=ro", uri=True) as connection:
        found = connection.execute(
            "select u.Name, u.EmailAddress, u.RealName, u.Organization, u.WorkPhone, u.City, u.Zip from Users u"
            " join Principals p on p.id = u.id where p.Disabled = 0 and u.EmailAddress like ?",
            [f"%{mark}%"],
        ).fetchall()
    names = ("Name", "EmailAddress", "RealName", "Organization", "WorkPhone", "City", "Zip")
    return [dict(zip(names, row, strict=True)) for row in found]


def test_customers_reach_request_tracker(
    running: Running,
    stack: Addresses,
    make_database: Callable[[str], str],
    unique: str,
    tmp_path: Path,
    report: Report,
) -> None:
    desk = httpx.Client(base_url=f"{running.url}/REST/2.0", auth=("root", "password"), timeout=120)

    def make(customers: Sequence[Customer]) -> None:
        for one in customers:
            user = {"Name": one.email.upper(), "EmailAddress": one.email.title(), "RealName": one.contact_name}
            answer = desk.post("/user", json=user)
            assert answer.status_code == 201, answer.text

    connection = {
        "api": "request-tracker",
        "base_url": f"{running.url}/REST/2.0",
        "username": "root",
        "password": "${RT_PASSWORD}",
    }
    application = Application(
        name="support",
        system={"kind": "http", "connection": connection, "owner": "Support"},
        target={"resource": "users"},
        match=["email"],
        by_hand=make,
        read=lambda: {str(one["EmailAddress"]).lower(): one for one in users(unique)},
        count=lambda: len(users(unique)),
        wanted=lambda row: (
            str(row["email"]),
            {
                "Name": f"customer-{row['id']}",
                "Organization": row["name"],
                "RealName": row["contact_name"],
                "WorkPhone": row["phone"],
                "City": row["city"],
                "Zip": row["postcode"],
            },
        ),
    )
    env = {"CRM_DSN": make_database(CRM_TABLE), "SORBUS_DATABASE": make_database(""), "RT_PASSWORD": "password"}
    office = Office(tmp_path, unique, {**stack.env(), **env})
    office.write(office_map(application), [*CRM_ROWS, *sheet("support", "customer")])
    office.sorbus("apply", "--yes")
    report(f"Request Tracker: {follow(office, application, unique)}")
