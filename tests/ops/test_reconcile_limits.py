"""Reconciliation as roles with limits, on locked tables, interrupted: it ends with a result or says who must act."""

from __future__ import annotations

import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from sorbus.ops.embedded import Addresses
from tests.acceptance.office import Office, execute, rows_of
from tests.databases import new_database

OWNER = """
create table jobs (id int primary key, v text);
insert into jobs select n, 'Secret' || n from generate_series(1, 50) n;
"""
RECONCILE = [str(Path(sys.executable).with_name("sorbus")), "reconcile", "job"]
WAITING = """
select 1 from pg_stat_activity where application_name = 'sorbus reconcile job' and wait_event_type = 'Lock'
"""


@pytest.fixture(scope="module")
def office(stack: Addresses, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """One flow, delivered, and running."""
    dsns = [new_database(stack.database) for _ in range(3)]
    execute(dsns[0], OWNER)
    env = dict(zip(("CRM_DSN", "THERE_DSN", "SORBUS_DATABASE"), dsns, strict=True))
    made = Office(Path(tmp_path_factory.mktemp("limits")), dsns[0].rpartition("/")[2], {**stack.env(), **env})
    systems = {
        name: {"kind": "postgres", "connection": {"dsn": f"${{{name.upper()}_DSN}}"}} for name in ("crm", "there")
    }
    made.write(
        {
            "systems": systems,
            "data_types": {"job": {"system_of_record": "crm", "source": {"table": "jobs"}}},
            "flows": [{"name": "job", "data_type": "job", "to": "there", "target": {"table": "jobs"}}],
        },
        [],
        {"job": [{"name": "v", "type": "string", "tags": ["personal"]}]},
    )
    made.sorbus("apply", "--yes")
    with made.up():
        count = "select count(*) n from jobs"
        made.until(lambda: rows_of(dsns[1], count)[0]["n"] != 50, 60, every=0.2)
        yield made


@pytest.fixture
def limited(office: Office) -> Iterator[Callable[..., Office]]:
    """The same company, where a system is read by a role with these settings, which may read and no more."""
    made: list[str] = []

    def make(dsn: str, **settings: str) -> Office:
        role = f"r{uuid.uuid4().hex[:12]}"
        execute(
            office.env[dsn],
            f"create role {role} login password 'x'",
            f"grant select on all tables in schema public to {role}",
        )
        execute(office.env[dsn], *(f"alter role {role} set {name} = '{value}'" for name, value in settings.items()))
        made.append(role)
        other = psycopg.conninfo.make_conninfo(office.env[dsn], user=role, password="x")
        return Office(office.folder, office.prefix, {**office.env, dsn: other})

    yield make
    for role in made:
        for dsn in ("CRM_DSN", "THERE_DSN"):
            execute(office.env[dsn], f"drop owned by {role} cascade")
        execute(office.env["CRM_DSN"], f"drop role {role}")


def _run(office: Office) -> tuple[int, str, str]:
    """Exit code and output of `sorbus reconcile job`, run as people do."""
    done = subprocess.run(RECONCILE, env=office.env, cwd=office.folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("dsn", ["CRM_DSN", "THERE_DSN"])
def test_a_role_s_limits_of_time_end_no_comparison(limited: Callable[..., Office], dsn: str) -> None:
    company = limited(dsn, idle_in_transaction_session_timeout="1ms", statement_timeout="100ms")
    # The owner's snapshot is held while the flow is waited for.
    assert "job: 50 records, agrees" in company.sorbus("certify", "job", "--wait", "10")


@pytest.mark.parametrize("dsn", ["CRM_DSN", "THERE_DSN"])
def test_rows_that_policies_hide_are_no_missing_records(
    office: Office, limited: Callable[..., Office], dsn: str
) -> None:
    company = limited(dsn)
    hide = "create policy partly on jobs using (id::int > 9)"
    execute(office.env[dsn], "alter table jobs enable row level security", hide)
    try:
        status, out, told = _run(company)
        assert (status, out, "bypassrls" in told) == (4, "", True), told
    finally:
        execute(office.env[dsn], "drop policy partly on jobs", "alter table jobs disable row level security")


def test_an_interrupted_comparison_ends_at_once_although_a_table_is_locked(office: Office) -> None:
    there = office.env["THERE_DSN"]
    with psycopg.connect(there) as locking:
        locking.execute("lock table jobs in access exclusive mode")
        process = subprocess.Popen(RECONCILE, env=office.env, cwd=office.folder, stderr=subprocess.PIPE, text=True)
        office.until(lambda: not rows_of(there, WAITING), 30, every=0.1)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=10)
    assert (process.returncode, "Traceback" in told) == (130, False), told
    office.until(lambda: rows_of(there, WAITING), 10, every=0.1)


def test_a_column_that_the_target_lost_is_no_agreement(office: Office) -> None:
    execute(office.env["THERE_DSN"], "alter table jobs rename column v to w")
    status, out, told = _run(office)
    execute(office.env["THERE_DSN"], "alter table jobs rename column w to v")
    assert (status, out) == (2, "")
    assert "public.jobs has no column v, which the mapping fills" in told


def test_personal_values_are_shown_and_kept_nowhere(office: Office, tmp_path: Path) -> None:
    execute(office.env["THERE_DSN"], "update jobs set v = 'Leaked' where id = '7'", "delete from jobs where id = '8'")
    shown = [
        office.sorbus("reconcile", "job", "--csv", str(tmp_path / "found.csv"), status=1),
        office.sorbus("reconcile", "job", "--json", status=1),
        office.sorbus("reconcile", "job", "--stored", status=1),
        office.sorbus("reconcile", "job", "--heal", "--dry-run", status=1),
        office.sorbus("certify", "job", "--out", str(tmp_path / "job.json"), status=1),
        *(file.read_text() for file in tmp_path.iterdir()),
    ]
    assert len(shown) == 7
    for text in shown:
        assert ("7" in text, "Leaked" in text, "Secret" in text) == (True, False, False), text


def test_a_column_that_the_owner_lost_is_no_difference(office: Office) -> None:
    execute(office.env["CRM_DSN"], "alter table jobs rename column v to w", "update jobs set w = 'new' where id = 7")
    office.until(lambda: "missing" not in office.sorbus("drift", "list", "--json"), 30, every=0.5)
    status, out, told = _run(office)
    assert (status, out) == (2, "")
    assert "job can't be compared" in told
    assert "sorbus drift settle" in told
