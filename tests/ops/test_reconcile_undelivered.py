"""Reconciliation where the target keeps a list without places, and where it has an older state than the topic."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sorbus.ops.embedded import Addresses
from tests.acceptance.office import Office, execute, rows_of
from tests.databases import new_database
from tests.ops.reconcile_company import reconcile

OWNER = """
create table jobs (id int primary key, title text, note text);
insert into jobs select n, 'Job ' || n, 'n' || n from generate_series(1, 30) n;
create table tasks (job int, n int, what text, primary key (job, n));
insert into tasks select j, n, 'task ' || n from generate_series(1, 30) j, generate_series(1, 3) n;
"""
TARGET = """
create table plain_jobs (id text primary key, title text, note text);
create table plain_tasks (parent_id text, what text);
create table numbered_jobs (id text primary key, title text, number int);
create table held_jobs (id text primary key, title text);
"""
ITEM = {"type": "record", "name": "task", "fields": [{"name": "what", "type": "string"}]}
JOB = [
    {"name": "title", "type": "string"},
    {"name": "note", "type": ["null", "string"], "default": None},
    {"name": "tasks", "default": [], "type": {"type": "array", "items": ITEM}},
]
ROWS = [
    ("canonical", "job.title", "there", "numbered_jobs.title", ""),
    ("canonical", "job.note", "there", "numbered_jobs.number", 'value | replace("n", "") | integer'),
    ("canonical", "job.title", "there", "held_jobs.title", "value | upper"),
]


@pytest.fixture(scope="module")
def office(stack: Addresses, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """Jobs on their way into three tables of the target's own."""
    dsns = [new_database(stack.database) for _ in range(3)]
    execute(dsns[0], OWNER)
    execute(dsns[1], TARGET)
    env = dict(zip(("CRM_DSN", "THERE_DSN", "SORBUS_DATABASE"), dsns, strict=True))
    made = Office(Path(tmp_path_factory.mktemp("jobs")), dsns[0].rpartition("/")[2], {**stack.env(), **env})

    def flow(name: str, **more: object) -> dict[str, object]:
        target = {"table": f"{name}_jobs", "existing": True, **more}
        return {"name": name, "data_type": "job", "to": "there", "target": target}

    children = {"tasks": {"table": "plain_tasks", "position": None}}
    made.write(
        {
            "systems": {
                "crm": {"kind": "postgres", "connection": {"dsn": "${CRM_DSN}"}},
                "there": {"kind": "postgres", "connection": {"dsn": "${THERE_DSN}"}},
            },
            "data_types": {
                "job": {
                    "system_of_record": "crm",
                    "source": {"table": "jobs", "children": {"tasks": {"table": "tasks", "parent": ["job"]}}},
                }
            },
            "flows": [
                flow("plain", children=children),
                flow("numbered"),
                {**flow("held"), "on_incomplete": "hold", "required": ["note"]},
            ],
        },
        ROWS,
        {"job": JOB},
    )
    made.sorbus("apply", "--yes")
    with made.up():
        made.until(lambda: [name for name in ("plain", "numbered", "held") if _count(made, name) != 30], 60, every=0.2)
        yield made


def _count(office: Office, name: str) -> int:
    return len(rows_of(office.env["THERE_DSN"], f"select id from {name}_jobs"))


def _has(office: Office, query: str) -> str:
    """What is missing in the target."""
    return "" if rows_of(office.env["THERE_DSN"], query) else query


def test_the_order_of_items_without_a_place_is_no_difference(office: Office) -> None:
    assert reconcile(office, "plain")["counts"] == {}
    execute(office.env["CRM_DSN"], "update jobs set note = 'n55' where id = 5")
    office.until(lambda: _has(office, "select from plain_jobs where note = 'n55'"), 30, every=0.2)
    execute(office.env["THERE_DSN"], "update plain_tasks set what = what where what = 'task 1' and parent_id = '5'")
    assert reconcile(office, "plain", "--changed")["counts"] == {}
    execute(office.env["THERE_DSN"], "update plain_tasks set what = 'task 4' where what = 'task 1' and parent_id = '5'")
    [found] = reconcile(office, "plain", "--changed")["differences"]  # type: ignore[misc]
    assert (found["id"], found["kind"]) == ("5", "different")


@pytest.mark.parametrize(
    ("flow", "id", "note", "told", "cause"),
    [
        ("numbered", "20", "'abc'", ("dlq", "list", "--flow", "numbered", "--json"), "dead_letter"),
        ("held", "21", "null", ("waiting", "list", "--flow", "held", "--json"), "waiting"),
    ],
)
def test_an_older_state_than_the_topics_is_stale(
    office: Office, flow: str, id: str, note: str, told: tuple[str, ...], cause: str
) -> None:
    execute(office.env["CRM_DSN"], f"update jobs set note = {note}, title = 'new' where id = {id}")
    office.until(
        lambda: "" if f'"{id}"' in office.sorbus(*told) else f"{id} is neither refused nor held", 30, every=0.2
    )
    for how in ((), ("--changed",)):
        found = {one["id"]: one for one in reconcile(office, flow, *how)["differences"]}  # type: ignore[attr-defined]
        assert (found[id]["kind"], found[id]["cause"]) == ("stale", cause)
    execute(office.env["CRM_DSN"], f"update jobs set note = 'n1' where id = {id}")
    office.until(lambda: reconcile(office, flow)["counts"], 30)
