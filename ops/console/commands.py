"""`sorbus console`: the web page where people see what goes on and mend it."""

from __future__ import annotations

from typing import Annotated

import typer

from sorbus.cli.context import Context
from sorbus.telemetry.options import LOOPBACK, MetricsHost, MetricsPort

app = typer.Typer()
console_app = typer.Typer(invoke_without_command=True)
app.add_typer(console_app, name="console")


@console_app.callback()
def console(
    ctx: typer.Context,
    port: Annotated[
        int, typer.Option(envvar="SORBUS_CONSOLE_PORT", help="Where to serve; 0 takes a free port.")
    ] = 9490,
    host: Annotated[str, typer.Option(envvar="SORBUS_CONSOLE_HOST", help="The address to listen on.")] = LOOPBACK,
    interval: Annotated[float, typer.Option(min=0.5, help="Seconds between two measurements.")] = 3.0,
    metrics_port: MetricsPort = 0,
    metrics_host: MetricsHost = LOOPBACK,
) -> None:
    """The web page where people see what goes on, and mend it, until stopped.

    On this machine nobody is asked who they are.

    Examples: `sorbus console`, `sorbus --map company/map.yaml console --port 8000`
    """
    if ctx.invoked_subcommand is not None:
        return
    from sorbus.ops.console.serve import serve_console

    serve_console(Context.of(ctx).load_sound(), host, port, interval, metrics_host, metrics_port)
