"""A CRM and a real Redmine that change the same projects: names are the CRM's, descriptions anybody's."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import httpx
import psycopg
import pytest

from sorbus.ops.embedded import Addresses
from tests.acceptance.office import Office, execute, rows_of
from tests.acceptance.real import Running, redmine
from tests.conftest import Report
from tests.replication_slots import drop_slots

pytestmark = pytest.mark.real
RECORDS, EDITS = 20, 10
TABLE = f"""
create table projects (id text primary key, name text not null, slug text not null, description text);
insert into projects select 'P' || n, 'Project ' || n, 'project-' || n, E'Line ' || n || E'\\nand another  \\n'
from generate_series(1, {RECORDS}) n
"""
FIELDS: list[object] = [
    {"name": "name", "type": "string"},
    {"name": "slug", "type": "string"},
    {"name": "description", "type": ["null", "string"], "default": None},
]


@pytest.fixture
def running() -> Iterator[Running]:
    with redmine() as running:
        yield running


def test_a_redmine_and_a_crm_change_the_same_projects(
    running: Running,
    stack: Addresses,
    make_database: Callable[[str], str],
    unique: str,
    tmp_path: Path,
    report: Report,
) -> None:
    env = {"CRM": make_database(TABLE), "SORBUS_DATABASE": make_database(""), "REDMINE_KEY": running.said}
    office = Office(tmp_path, unique, {**stack.env(), **env})
    connection = {"api": "redmine", "base_url": running.url, "api_key": "${REDMINE_KEY}"}
    office.write(
        {
            "systems": {
                "crm": {"kind": "postgres", "connection": {"dsn": "${CRM}"}, "owner": "Sales"},
                "desk": {"kind": "http", "connection": connection, "owner": "Delivery"},
            },
            "data_types": {
                "job": {
                    "system_of_record": "crm",
                    "source": {"table": "projects"},
                    "match": ["name"],
                    "merge": {"description": "latest"},
                }
            },
            "flows": [
                {
                    "data_type": "job",
                    "to": "desk",
                    "direction": "two-way",
                    "target": {"resource": "projects"},
                    "proposals": {"every": "every 5s", "compare": "every 5s"},
                }
            ],
        },
        [
            ("canonical", "job.name", "desk", "projects.name", ""),
            ("canonical", "job.slug", "desk", "projects.identifier", ""),
            ("canonical", "job.description", "desk", "projects.description", ""),
            ("desk", "projects.description", "canonical", "job.description", ""),
            ("canonical", "job.description", "crm", "projects.description", ""),
        ],
        {"job": FIELDS},
    )
    office.sorbus("map", "check")
    office.sorbus("apply", "--yes")
    desk = httpx.Client(base_url=running.url, headers={"X-Redmine-API-Key": running.said}, timeout=120)
    said = {}

    def there() -> dict[str, tuple[str, str, str]]:
        """Redmine's own table: identifier -> description, name, and when it was changed."""
        file = running.folder / "redmine.sqlite3"
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as connection:
            found = connection.execute("select identifier, description, name, updated_on from projects").fetchall()
        return {slug: (text, name, at) for slug, text, name, at in found}

    def unlike() -> str:
        found = there()
        rows = rows_of(env["CRM"], "select slug, name, description from projects")
        lines = [f"{row['slug']} is missing" for row in rows if row["slug"] not in found]
        for row in rows:
            ours, (theirs, name, _) = str(row["description"]), found.get(str(row["slug"]), ("", "", ""))
            if ours.split() != str(theirs).split() or name != row["name"]:
                lines.append(f"{row['slug']}: {ours!r} and {theirs!r}")
        return "\n".join(lines[:5])

    with office.up():
        office.sorbus("two-way", "join", "job", "--accept")
        office.until(unlike, 180)
        untouched = {row["slug"]: row["description"] for row in rows_of(env["CRM"], "select * from projects")}
        for number in range(1, EDITS + 1):
            said[f"project-{number}"] = text = f"Said in Redmine {number}\r\nin two lines "
            answer = desk.put(f"/projects/project-{number}.json", json={"project": {"description": text}})
            assert answer.is_success, answer.text
            execute(env["CRM"], f"update projects set name = name || ' (b)' where slug = 'project-{number}'")
        execute(env["CRM"], "update projects set description = 'Said in the CRM' where slug = 'project-20'")
        took = office.until(lambda: unlike() or missing(env["CRM"], said), 180)
        quiet = there()
        office.until(lambda: "" if office.said("listed") > 12 else "too few lists", 120)
        assert there() == quiet, "something still writes"
        assert missing(env["CRM"], said) == ""
        now = {row["slug"]: row["description"] for row in rows_of(env["CRM"], "select * from projects")}
    for number in range(EDITS + 1, RECORDS):
        slug = f"project-{number}"
        assert now[slug] == untouched[slug] == f"Line {number}\nand another  \n", "Redmine's own form came back"
    assert now["project-20"] == "Said in the CRM"
    report(f"Redmine, two-way: {EDITS} changes there and {EDITS + 1} in the CRM agree after {took:.0f} s")
    with psycopg.connect(env["CRM"], autocommit=True) as session:
        drop_slots(session)


def missing(dsn: str, said: dict[str, str]) -> str:
    """What people said in Redmine and the CRM doesn't have, as it was written there or in its own line ends."""
    found = {row["slug"]: str(row["description"]) for row in rows_of(dsn, "select slug, description from projects")}
    return "\n".join(slug for slug, text in said.items() if found[slug].split() != text.split())
