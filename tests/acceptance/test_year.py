"""A company's year through Sorbus with everything that goes wrong, checked by a ledger that knows nothing of Sorbus.

SORBUS_YEAR_MONTHS and SORBUS_YEAR_ORDERS (a month) make it longer; `sorbus demo --year` is the same run.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from sorbus.map.load import load_map
from sorbus.ops.demo.company import examples
from sorbus.ops.demo.year.business import Business
from sorbus.ops.demo.year.faults import KINDS
from sorbus.ops.demo.year.ledger import Difference
from sorbus.ops.demo.year.picture import picture
from sorbus.ops.demo.year.run import Year, written
from sorbus.ops.demo.year.stage import Stage
from sorbus.ops.demo.year.workplace import Volume
from sorbus.ops.embedded import Addresses
from tests.conftest import Report

pytestmark = pytest.mark.slow
MONTHS, ORDERS = int(os.environ.get("SORBUS_YEAR_MONTHS", "2")), int(os.environ.get("SORBUS_YEAR_ORDERS", "60"))
TAMPERED = {
    "reporting": (
        "update invoices set paid_amount = paid_amount + 0.01 where id = (select min(id) from invoices)",
        {"reporting.invoices", "reporting.month_end"},
    ),
    "projects": (
        'insert into clients select (jsonb_populate_record(c, \'{"id": "x", "number": "C-x"}\')).* from clients c'
        " where id = (select min(id) from clients)",
        {"projects.customers"},
    ),
    "erp": (
        "update stock set on_hand = on_hand - 0.001 where sku = (select min(sku) from stock)",
        {"erp.stock", "crm.stock", "reporting.stock"},
    ),
}


@pytest.fixture
def stage(stack: Addresses, unique: str, tmp_path: Path) -> Stage:
    def create_database(name: str) -> str:
        with psycopg.connect(stack.database, autocommit=True) as connection:
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(f"{unique}_{name}")))
        return f"{stack.database.rpartition('/')[0]}/{unique}_{name}"

    env = {**stack.env(), "SORBUS_DATABASE": create_database("state")}
    return Stage(tmp_path / "year", env, create_database, prefix=f"{unique}.")


def test_a_year_of_business_and_faults_is_equal_in_every_system(stage: Stage, report: Report) -> None:
    folder = Path(os.environ.get("SORBUS_YEAR_FOLDER", stage.folder))
    with stage:
        business = Business(stage.workplace(Volume(ORDERS)))
        year, began = Year(stage, business, report), time.monotonic()
        try:
            year.open()
            year.run(MONTHS)
        finally:
            written(year.months, business.at.counts, folder / "year.json")
            company = load_map(examples() / "year" / "map.yaml").map
            (folder / "year.svg").write_text(picture(company, year.months, business.at.counts), "utf-8")
        for system, (statement, relations) in TAMPERED.items():
            with psycopg.connect(stage.dsns[system]) as connection:
                connection.execute(statement.encode())
            wait_for(year.differences, relations)
            with psycopg.connect(stage.dsns[system]) as connection:
                connection.execute(undone(statement).encode())
            wait_for(year.differences, set())
    faults = [one for month in year.months for one in month.faults]
    report(
        f"{MONTHS} months: {business.ledger.events:,} events, {sum(one.records for one in year.months):,} records"
        f" compared, {len(faults)} faults, {sum(len(one.steps) for one in faults)} steps by people,"
        f" {time.monotonic() - began:.0f} s"
    )
    assert [one.fault for one in faults] == [kind.title for kind in KINDS]
    assert all(one.words for one in faults if one.runbook != "process-down")
    assert all(sum(month.moved.values()) > 0 for month in year.months)


def undone(statement: str) -> str:
    """The statement that takes a tampering back."""
    if statement.startswith("insert"):
        return "delete from clients where id = 'x'"
    return statement.replace("+ 0.01", "- 0.01") if "+ 0.01" in statement else statement.replace("- 0.001", "+ 0.001")


def wait_for(differences: Callable[[], Sequence[Difference]], relations: set[str], seconds: float = 60) -> None:
    """Until there are differences in these relations, and in no others."""
    end = time.monotonic() + seconds
    while {one.relation for one in differences()} != relations:
        assert time.monotonic() < end, f"not differences of {relations}, but {differences()}"
        time.sleep(0.5)


def test_ctrl_c_ends_the_year_with_its_results_and_nothing_left_running(tmp_path: Path) -> None:
    folder = tmp_path / "year"
    command = [str(Path(sys.executable).with_name("sorbus")), "demo", "--year", "--months", "1", "--orders", "20"]
    with subprocess.Popen(
        [*command, "--folder", str(folder)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        said = next(line for line in process.stdout if "the map is applied" in line)
        children = below(process.pid)
        process.send_signal(signal.SIGINT)
        said += process.stdout.read()
        assert process.wait(120) == 0, said
    assert "stopped after 0 of 1 months" in said
    assert json.loads((folder / "year.json").read_text("utf-8"))["months"] == []
    assert {one.name for one in folder.iterdir()} <= {"year.json", "year.svg", "up.log", "company", "secrets"}
    left = [pid for pid in children if Path(f"/proc/{pid}").exists()]
    assert left == []


def below(pid: int) -> list[int]:
    """The ids of all processes that a process started, and theirs."""
    found = [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()]
    return [*found, *(deeper for one in found for deeper in below(one))]
