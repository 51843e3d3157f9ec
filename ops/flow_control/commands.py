"""`sorbus pause`, `sorbus resume`, `sorbus sync`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from sorbus.cli.context import Context
from sorbus.cli.login import login_name

if TYPE_CHECKING:
    from sorbus.ops.flow_control.flow_controls import FlowControls

app = typer.Typer()
Flow = Annotated[str, typer.Argument(help="The flow, such as customer-to-accounting.")]
Who = Annotated[str, typer.Option("--by", envvar="SORBUS_USER", help="Who asks; else who is logged in.")]
AsJson = Annotated[bool, typer.Option("--json", help="What the flow is told now, as JSON.")]


@app.command()
def pause(
    ctx: typer.Context,
    flow: Flow,
    reason: Annotated[str, typer.Option("--reason", help="Why; people see it wherever the flow is shown.")],
    who: Who = "",
    as_json: AsJson = False,
) -> None:
    """Pause a flow until `sorbus resume`: nothing is delivered, nothing is lost, and its lag raises no alarm.

    A batch that is being delivered is finished. The producer and the other flows continue; replays of the flow
    still deliver. Its consumers are told within seconds, and after each restart.

    Example: sorbus pause customer-to-accounting --reason "year-end closing"
    """
    _run(ctx, flow, lambda controls: controls.pause(flow, who or login_name(), reason), as_json=as_json)


@app.command()
def resume(ctx: typer.Context, flow: Flow, who: Who = "", as_json: AsJson = False) -> None:
    """Resume a paused flow: it delivers what has come meanwhile, in order.

    Example: sorbus resume customer-to-accounting
    """
    _run(ctx, flow, lambda controls: controls.resume(flow, who or login_name()), as_json=as_json)


@app.command()
def sync(ctx: typer.Context, flow: Flow, who: Who = "", as_json: AsJson = False) -> None:
    """Let a flow deliver now what has been published, without waiting for its next time or the end of quiet hours.

    Its consumer must be running, or be started within ten minutes.

    Example: sorbus sync invoice-to-reporting
    """
    _run(ctx, flow, lambda controls: controls.sync(flow, who or login_name()), as_json=as_json)


def _run(ctx: typer.Context, flow: str, tell: Callable[[FlowControls], str], *, as_json: bool) -> None:
    from dataclasses import asdict

    from sorbus.drift.watch import has_state
    from sorbus.ops.flow_control.flow_controls import FlowControls
    from sorbus.settings import Settings
    from sorbus.state.database import State

    company, settings = Context.of(ctx).load_sound().map, Settings()
    controls = FlowControls(settings, company, State.of(company.topic_prefix) if has_state(settings) else None)
    said = tell(controls)
    typer.echo(json.dumps(asdict(controls.of(flow))) if as_json else said)
