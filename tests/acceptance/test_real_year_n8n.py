"""The company's year through Sorbus and, beside it in the same run, seven of its flows through a real n8n.

SORBUS_N8N=/path/n8n.sh is called with a folder and a port; SORBUS_N8N_FOLDER is where n8n may have been installed
already (the first time takes ten minutes and 3 GB). SORBUS_YEAR_MONTHS and SORBUS_YEAR_ORDERS (a month) make it longer;
SORBUS_YEAR_FOLDER keeps year-n8n.json.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import pytest

from sorbus.ops.demo.year.business import Business
from sorbus.ops.demo.year.faults import KINDS
from sorbus.ops.demo.year.run import MonthEnd, Year
from sorbus.ops.demo.year.stage import Stage
from sorbus.ops.demo.year.workplace import Volume
from tests.acceptance.n8n_faults import kinds
from tests.acceptance.n8n_losses import Loss
from tests.acceptance.n8n_server import Meter, N8n
from tests.acceptance.n8n_tables import stamp
from tests.acceptance.n8n_year import Observed, Rival
from tests.acceptance.test_year import MONTHS, ORDERS, stage
from tests.conftest import Report

pytestmark = pytest.mark.real
__all__ = ["stage"]


class YearOfBoth(Year):
    """At each month's end n8n is compared, too."""

    rival: Rival

    def _close(self, end: MonthEnd) -> None:
        super()._close(end)
        self.rival.after(Observed(f"month {end.month}'s end"))


def test_a_year_beside_n8n_with_the_same_faults(stage: Stage, tmp_path: Path, report: Report) -> None:
    script = Path(os.environ.get("SORBUS_N8N", ""))
    if not script.is_file():
        pytest.skip("set SORBUS_N8N to a script that starts n8n")
    installed = Path(os.environ.get("SORBUS_N8N_FOLDER", str(tmp_path / "installed")))
    folder = Path(os.environ.get("SORBUS_YEAR_FOLDER", tmp_path))
    env = {"N8N_RESTRICT_FILE_ACCESS_TO": str(stage.map_folder / "share"), "EXECUTIONS_DATA_PRUNE": "false"}
    with stage:
        business = Business(stage.workplace(Volume(ORDERS)))
        rival = Rival(stage, business, N8n(script, installed, tmp_path / "n8n", env), report)
        year = YearOfBoth(stage, business, report, kinds=kinds(rival))
        year.rival = rival
        meter = Meter(lambda: {"Sorbus": stage.work_pid, "n8n": rival.n8n.pid})
        left: dict[str, set[Loss]] = {}
        try:
            stamp(stage.dsns)
            year.open()
            rival.open()
            assert rival.losses() == set(), "n8n does not begin equal"
            year.run(MONTHS)
            left["at the end"] = rival.losses()
            rival.run_again()
            rival.polled()
            left["after each workflow ran from the beginning"] = rival.losses()
        finally:
            meter.stop()
            rival.stop()
            cost = {name: (round(meter.cpu(name)), meter.peak[name] // 2**20) for name in meter.peak}
            _write(folder / "year-n8n.json", rival, left, cost)
    for when, losses in left.items():
        kinds_of = Counter(one.kind for one in losses)
        report(f"n8n {when}: {len(losses)} records differ from the ledger: {dict(kinds_of) or 'none'}")
    report("; ".join(f"{name}: {cpu} s of CPU, at most {peak} MB" for name, (cpu, peak) in cost.items()))
    seen = [one.what for one in rival.observed if not one.what.startswith("month")]
    assert sorted(seen) == sorted(kind.title for kind in KINDS)  # those of one week in another order


def _write(file: Path, rival: Rival, left: Mapping[str, set[Loss]], cost: Mapping[str, tuple[int, int]]) -> None:
    found = {
        "observed": [asdict(one) for one in rival.observed],
        "left": {when: [asdict(one) for one in sorted(losses, key=str)] for when, losses in left.items()},
        "runs": dict(Counter(f"{one.workflow}: {one.status}" for one in rival.n8n.executions())),
        "cost (seconds of CPU, MB)": cost,
    }
    file.write_text(f"{json.dumps(found, indent=1, ensure_ascii=False)}\n", "utf-8")
