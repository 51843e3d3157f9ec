"""The company's year with a real Redmine as project tool, Request Tracker as support desk, and Tryton as second ERP.

The business, the faults and the ledger are those of test_year.py; overlay/map.yaml says what differs in the map. Each
application is read in its own database. SORBUS_YEAR_MONTHS and SORBUS_YEAR_ORDERS make it longer, SORBUS_YEAR_FOLDER
keeps its results.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from sorbus.errors import SorbusError
from sorbus.map.load import load_map
from sorbus.ops.demo.year.business import Business
from sorbus.ops.demo.year.picture import picture
from sorbus.ops.demo.year.run import Year, written
from sorbus.ops.demo.year.workplace import Volume
from sorbus.ops.embedded import Addresses
from tests.acceptance.real import redmine, tryton
from tests.acceptance.real_year.faults import REAL_KINDS
from tests.acceptance.real_year.redmine import Redmine
from tests.acceptance.real_year.stage import RealStage
from tests.acceptance.real_year.tracker import own_request_tracker
from tests.acceptance.real_year.tryton import Tryton
from tests.conftest import Report

pytestmark = pytest.mark.real
_PATIENCE = 900.0
"""Seconds: Redmine answers one request at a time here, and each in seconds where others use the machine, too."""
MONTHS, ORDERS = int(os.environ.get("SORBUS_YEAR_MONTHS", "2")), int(os.environ.get("SORBUS_YEAR_ORDERS", "60"))


@pytest.fixture
def stage(stack: Addresses, make_database: Callable[[str], str], unique: str, tmp_path: Path) -> Iterator[RealStage]:
    with ExitStack() as applications:
        redmine_ = Redmine(applications.enter_context(redmine()))
        tracker = applications.enter_context(own_request_tracker(tmp_path / "rt"))
        tryton_ = Tryton(applications.enter_context(tryton()))
        env = {**stack.env(), "SORBUS_DATABASE": make_database("")}
        folder = tmp_path / "year"
        yield RealStage(
            folder, env, lambda _: make_database(""), prefix=f"{unique}.", redmine=redmine_, tracker=tracker,
            tryton=tryton_,
        )  # fmt: skip


def test_a_year_with_real_applications_is_equal_in_every_system(stage: RealStage, report: Report) -> None:
    folder = Path(os.environ.get("SORBUS_YEAR_FOLDER", stage.folder))
    with stage:
        business = Business(stage.workplace(Volume(ORDERS)))
        year = Year(stage, business, report, kinds=tuple(REAL_KINDS), patience=_PATIENCE)
        began = time.monotonic()
        company = load_map(stage.map_folder / "map.yaml").map
        try:
            year.open()
            year.run(MONTHS)
            changed_by_hand(stage, year)
        finally:
            written(year.months, business.at.counts, folder / "year.json")
            (folder / "year.svg").write_text(picture(company, year.months, business.at.counts), "utf-8")
    faults = [one for month in year.months for one in month.faults]
    report(
        f"{MONTHS} months: {business.ledger.events:,} events, {sum(one.records for one in year.months):,} records"
        f" compared, {len(faults)} faults, {sum(len(one.steps) for one in faults)} steps by people,"
        f" {time.monotonic() - began:.0f} s"
    )
    assert {one.fault for one in faults} == {kind.title for kind in REAL_KINDS}
    assert all(one.words for one in faults if one.runbook != "process-down")


def changed_by_hand(stage: RealStage, year: Year) -> None:
    """What people change in an application is a difference, and what `sorbus reconcile --heal` takes back."""
    id, number = next((str(one.id), one.number) for one in year.business.ledger.customers.values())
    changes = {
        "projects": lambda: stage.redmine.rename(id, "Somebody else"),
        "support": lambda: stage.tracker.rename(id, "Somebody else"),
        "tryton": lambda: stage.tryton.rename(number, "Somebody else"),
    }
    for system, change in changes.items():
        change()
        found = year.differences()
        assert [one.relation for one in found] == [f"{system}.customers"], found
        said = stage.sorbus("reconcile", f"customer-to-{system}", "--heal", "--yes", status=(0, 1))
        try:
            year.settle()
        except SorbusError as error:
            error.add_note(said)
            raise
