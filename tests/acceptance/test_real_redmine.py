"""The CRM's customers as projects of a real Redmine, and a project's status back in the CRM's client view."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import httpx
import pytest

from sorbus.ops.embedded import Addresses
from tests.acceptance.customers import BY_HAND, CRM_ROWS, CRM_TABLE, Application, Customer, follow, office_map, sheet
from tests.acceptance.office import Office, rows_of
from tests.acceptance.real import Running, redmine
from tests.conftest import Report

pytestmark = pytest.mark.real
POLL = 15
SHOWN = {
    "data_types": {
        "project": {"system_of_record": "projects", "source": {"resource": "projects", "every": f"every {POLL}s"}}
    },
    "flows": [{"data_type": "project", "to": "crm", "target": {"table": "shown_projects"}}],
    "lookups": {"redmine_status": {"1": "ACTIVE", "5": "COMPLETED", "9": "CANCELLED"}},
}


@pytest.fixture
def running() -> Iterator[Running]:
    with redmine() as running:
        yield running


def projects(file: Path) -> list[Mapping[str, object]]:
    """Redmine's own table: projects that are active, closed or archived."""
    with sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True) as connection:
        found = connection.execute(
            "select id, name, identifier, is_public, status from projects where status in (1, 5, 9)"
        ).fetchall()
    return [dict(zip(("id", "name", "identifier", "is_public", "status"), row, strict=True)) for row in found]


def test_customers_reach_redmine_and_a_project_s_status_the_crm(
    running: Running,
    stack: Addresses,
    make_database: Callable[[str], str],
    unique: str,
    tmp_path: Path,
    report: Report,
) -> None:
    file = running.folder / "redmine.sqlite3"
    desk = httpx.Client(base_url=running.url, headers={"X-Redmine-API-Key": running.said}, timeout=120)

    def make(customers: Sequence[Customer]) -> None:
        for number, one in enumerate(customers):
            project = {"name": one.name, "identifier": f"by-hand-{number}"}
            assert desk.post("/projects.json", json={"project": project}).status_code == 201

    connection = {"api": "redmine", "base_url": running.url, "api_key": "${REDMINE_KEY}"}
    application = Application(
        name="projects",
        system={"kind": "http", "connection": connection, "owner": "Delivery"},
        target={"resource": "projects"},
        match=["name"],
        by_hand=make,
        read=lambda: {str(one["name"]): one for one in projects(file)},
        count=lambda: len(projects(file)),
        wanted=lambda row: (str(row["name"]), {"is_public": 0}),
    )
    env = {
        "CRM_DSN": make_database(CRM_TABLE),
        "SORBUS_DATABASE": make_database(""),
        "REDMINE_KEY": running.said,
    }
    office = Office(tmp_path, unique, {**stack.env(), **env})
    rows = [*CRM_ROWS, *sheet("projects", "customer"), *sheet("projects", "project")]
    office.write(office_map(application, SHOWN), rows)
    office.sorbus("apply", "--yes")
    figures = follow(office, application, unique)
    assert {one["identifier"] for one in projects(file) if str(one["identifier"]).startswith("by-hand")} == {
        f"by-hand-{number}" for number in range(BY_HAND) if (10000 + number) % 53
    }, "those that were there by hand are the ones that were linked"
    chosen = str(next(one["id"] for one in projects(file) if one["identifier"] == "by-hand-7"))

    def shown(status: str) -> str:
        found = rows_of(env["CRM_DSN"], "select id, status from shown_projects")
        return "" if {"id": chosen, "status": status} in found else f"project {chosen} as {status} among {len(found)}"

    seconds = 0.0
    with office.up():
        # The first time is for all to have started, and isn't counted.
        for turn, (action, status) in enumerate((("close", "COMPLETED"), ("reopen", "ACTIVE")) * 2):
            assert desk.put(f"/projects/{chosen}/{action}.json").is_success
            took = office.until(lambda: shown(status), seconds=2 * POLL + 60, every=0.1)  # noqa: B023 - called at once
            seconds = max(seconds, took if turn else 0.0)
    # Redmine has no list of changes: what is changed behind a list's back is in the next one.
    lists = re.findall(r"listed, \d+ read, \d+ published, ([\d.]+) s", office.log.read_text("utf-8"))
    longest = max(map(float, lists))
    assert seconds <= POLL + 2 * longest + 5, (
        f"{seconds:.0f} s: more than a poll of {POLL} s and lists of {longest:.0f} s"
    )
    report(
        f"Redmine: {figures}; a project's status is in the CRM within {seconds:.1f} s"
        f" (polled every {POLL} s, a list takes {longest:.1f} s)"
    )
