"""Reconciliation of flows that change what the target is to hold: deletes, holds, defaults, keys, other writers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from sorbus.ops.embedded import Addresses
from tests.acceptance.office import Office, execute
from tests.databases import new_database
from tests.ops.reconcile_company import reconcile

OWNER = """
create table jobs (id int primary key, title text, city text, team text);
insert into jobs select n, 'Job ' || n, case when n % 10 = 0 then null else 'Bonn' end, 'T' || n % 3
    from generate_series(1, 60) n;
create table tasks (job int, n int, what text, primary key (job, n));
insert into tasks select j, n, 'task ' || n from generate_series(1, 60) j, generate_series(1, j % 3) n;
create table loose (code text, size int);
create unique index on loose (code);
alter table loose replica identity full;
insert into loose select case when n % 10 = 0 then null else 'C' || n end, n from generate_series(1, 30) n;
"""
TARGET = """
create table upper_jobs (id text primary key, title text not null, city text, team text, tasks jsonb);
create function shout() returns trigger language plpgsql as $$ begin new.title := upper(new.title); return new; end $$;
create trigger shout before insert or update on upper_jobs for each row execute function shout();
"""
JOB = [
    {"name": "title", "type": "string"},
    {"name": "city", "type": ["null", "string"], "default": None},
    {"name": "team", "type": "string"},
    {
        "name": "tasks",
        "default": [],
        "type": {
            "type": "array",
            "items": {"type": "record", "name": "task", "fields": [{"name": "what", "type": "string"}]},
        },
    },
]
LOOSE = [{"name": "size", "type": "int"}]


@pytest.fixture(scope="module")
def office(stack: Addresses, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """One data type on its way into five tables, each in another manner, and one whose key may be null."""
    dsns = [new_database(stack.database) for _ in range(3)]
    execute(dsns[0], OWNER)
    execute(dsns[1], TARGET)
    env = dict(zip(("CRM_DSN", "THERE_DSN", "SORBUS_DATABASE"), dsns, strict=True))
    made = Office(Path(tmp_path_factory.mktemp("flows")), dsns[0].rpartition("/")[2], {**stack.env(), **env})
    with_tasks = {"tasks": {"table": "{}_tasks"}}

    def flow(name: str, table: str, **more: object) -> dict[str, object]:
        children = {part: {"table": child["table"].format(table)} for part, child in with_tasks.items()}
        target = {"table": table, "children": children} if not more.get("target") else more.pop("target")
        return {"name": name, "data_type": "job", "to": "there", "target": target, **more}

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
                },
                "loose": {"system_of_record": "crm", "source": {"table": "loose", "key": ["code"]}},
            },
            "flows": [
                flow("soft", "soft_jobs", deletes="soft"),
                flow("ignoring", "ignoring_jobs", deletes="ignore"),
                flow(
                    "filling", "filling_jobs", on_incomplete="default", defaults={"city": "Berlin"}, required=["city"]
                ),
                flow("holding", "holding_jobs", on_incomplete="hold", required=["city"]),
                flow("shouting", "", target={"table": "upper_jobs", "existing": True}),
                {"name": "loose", "data_type": "loose", "to": "there", "target": {"table": "loose"}},
            ],
        },
        [],
        {"job": JOB, "loose": LOOSE},
    )
    made.sorbus("apply", "--yes")
    with made.up():
        made.until(lambda: _lacks(made, 60, 54, 27), 60, every=0.2)
        execute(dsns[0], "delete from tasks where job > 50", "delete from jobs where id > 50")
        made.until(lambda: _lacks(made, 50, 45, 27), 60, every=0.2)
        yield made


def _lacks(office: Office, all_jobs: int, held: int, loose: int) -> str:
    wanted = {
        "soft_jobs where sorbus_deleted_at is null": all_jobs,
        "ignoring_jobs": 60,
        "filling_jobs": all_jobs,
        "holding_jobs": held,
        "upper_jobs": all_jobs,
        "loose": loose,
    }
    with psycopg.connect(office.env["THERE_DSN"]) as there:
        found = {name: there.execute(f"select count(*) from {name}".encode()).fetchone() for name in wanted}
    return "" if all(found[name] == (count,) for name, count in wanted.items()) else str(found)


@pytest.mark.parametrize("flow", ["soft", "ignoring", "filling", "loose"])
def test_what_the_flow_makes_of_its_records_is_no_difference(office: Office, flow: str) -> None:
    report = reconcile(office, flow)
    assert report["counts"] == {}, report["differences"]
    assert report["undecided"] == 0


def test_a_held_record_is_said_to_wait(office: Office) -> None:
    report = reconcile(office, "holding")
    assert report["counts"] == {"stale": 5}, report["differences"]
    assert all("lacks city" in one["why"] for one in report["differences"])


def test_what_a_trigger_in_the_target_changes_is_a_difference_with_both_values(office: Office) -> None:
    report = reconcile(office, "shouting")
    assert report["counts"] == {"different": 50}
    (title,) = report["differences"][0]["fields"]
    assert (title["field"], title["owner"].upper()) == ("title", title["target"])


def test_differences_in_such_flows_are_found(office: Office) -> None:
    there = office.env["THERE_DSN"]
    execute(
        there,
        "update soft_jobs set sorbus_deleted_at = now() where id = '1'",
        "update soft_jobs set sorbus_deleted_at = null where id = '55'",
        "update filling_jobs set city = 'Bonn' where id = '10'",
        "update ignoring_jobs set title = 'x' where id = '3'",
        "delete from ignoring_jobs where id = '4'",
        "delete from soft_jobs_tasks where parent_id = '2'",
    )
    found = {flow: reconcile(office, flow)["differences"] for flow in ("soft", "filling", "ignoring")}
    assert {(flow, one["kind"], one["id"]) for flow, ones in found.items() for one in ones} == {
        ("soft", "missing", "1"),
        ("soft", "extra", "55"),
        ("soft", "different", "2"),
        ("filling", "different", "10"),
        ("ignoring", "different", "3"),
        ("ignoring", "missing", "4"),
    }
