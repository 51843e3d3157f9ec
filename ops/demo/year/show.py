"""`sorbus demo --year`: the servers, the year, and what is left of it in the folder."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from rich.console import Console

from sorbus.errors import SorbusError
from sorbus.map.load import load_map
from sorbus.ops.demo.company import examples
from sorbus.ops.demo.year.business import Business
from sorbus.ops.demo.year.faults import schedule
from sorbus.ops.demo.year.picture import picture
from sorbus.ops.demo.year.run import Year, written
from sorbus.ops.demo.year.servers import check_programs
from sorbus.ops.demo.year.stage import Stage
from sorbus.ops.demo.year.workplace import Volume
from sorbus.ops.embedded.stack import Stack
from sorbus.telemetry.stop import Stop

_RESULTS = ("year.json", "year.svg", "up.log")
_SERVERS = ("stack", "mariadb", "slapd", "applications", "run")


def announce(months: int, orders: int, console: Console) -> None:
    """What a run would do; nothing is started."""
    company = load_map(examples() / "year" / "map.yaml").map
    flows = sum(flow.runs for flow in company.flows)
    systems = sum(one.kind != "step" for one in company.systems.values())
    console.print(f"{company.company}: {systems} systems, {flows} flows, {months} months of {orders} orders")
    console.print("Starts Kafka, registry, PostgreSQL, MariaDB, slapd and two HTTP applications on this machine.")
    for (month, week), kinds in sorted(schedule(months).items()):
        for kind in kinds:
            console.print(f"  month {month:2}, week {week}: {kind.title}", highlight=False)
    console.print(f"Each month's end is checked in every system. Leaves {', '.join(_RESULTS)} in its folder.")


def run(folder: Path, months: int, orders: int, stop: Stop, console: Console, *, began: float, keep: bool) -> None:
    """The run, to its end or until `stop`; SorbusError where a system disagrees with the ledger."""
    check_programs()

    def say(words: str) -> None:
        shown = f"[dim]{time.monotonic() - began:6.1f} s[/]  "
        console.print(shown, end="")
        console.print(words, highlight=False, soft_wrap=True, markup=False)

    folder.mkdir(parents=True, exist_ok=True)
    say(f"starting Kafka, registry, PostgreSQL, MariaDB and slapd in {folder} (fetched once)")
    try:
        with Stack(folder / "stack", fast=True) as stack, Stage(folder, stack.env(), stack.create_database) as stage:
            business = Business(stage.workplace(Volume(orders)))
            year = Year(stage, business, say, stopped=stop.is_set)
            try:
                year.open()
                year.run(months)
            except SorbusError:
                if not stop.is_set():
                    raise
            finally:
                company = load_map(examples() / "year" / "map.yaml").map
                written(year.months, business.at.counts, folder / "year.json")
                (folder / "year.svg").write_text(picture(company, year.months, business.at.counts), "utf-8")
            if stop.is_set():
                say(f"stopped after {len(year.months)} of {months} months")
            say(f"the run drawn: {folder / 'year.svg'}; as JSON: {folder / 'year.json'}")
    finally:
        if not keep:
            for name in _SERVERS:
                shutil.rmtree(folder / name, ignore_errors=True)


def new_folder(base: Path) -> Path:
    """`base`, or the first of base-2, base-3 ... that isn't there."""
    number, folder = 1, base
    while folder.exists():
        number += 1
        folder = base.with_name(f"{base.name}-{number}")
    return folder
