"""`sorbus consume`: flows' consumers as a process."""

from __future__ import annotations

from typing import Annotated

import typer

from sorbus.cli.context import Context
from sorbus.telemetry.options import LOOPBACK, MetricsHost, MetricsPort

app = typer.Typer()


@app.command()
def consume(
    ctx: typer.Context,
    flows: Annotated[
        list[str], typer.Argument(metavar="FLOW", help="The flow to deliver, such as customer-to-accounting.")
    ],
    metrics_port: MetricsPort = 0,
    metrics_host: MetricsHost = LOOPBACK,
) -> None:
    """Deliver a flow's changes to its target, until stopped. Several of one flow share its partitions.

    Several flows share the process, which spares memory: each has its own thread, and ends and begins again alone.

    Example: sorbus --map company/map.yaml consume customer-to-accounting --metrics-port 9402
    """
    from sorbus.consumers.run_flow import run_one, run_several

    context = Context.of(ctx)
    if len(flows := list(dict.fromkeys(flows))) == 1:
        run_one(context, flows[0], metrics_port, metrics_host)
    else:
        run_several(context, flows, metrics_port, metrics_host)
