"""`sorbus pause`, `sorbus resume`, `sorbus sync`."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from sorbus.cli.context import Context
from sorbus.cli.login import login_name

if TYPE_CHECKING:
    from sorbus.bus.controls import FlowControl

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
    from sorbus.bus.controls import FlowPause

    found = _told(ctx, flow)
    pause = FlowPause(who or login_name(), reason.strip() or "no reason given", time.time())
    _tell(ctx, flow, found, replace(found, pause=pause), "pause", reason, who, as_json=as_json)


@app.command()
def resume(ctx: typer.Context, flow: Flow, who: Who = "", as_json: AsJson = False) -> None:
    """Resume a paused flow: it delivers what has come meanwhile, in order.

    Example: sorbus resume customer-to-accounting
    """
    found = _told(ctx, flow)
    _tell(ctx, flow, found, replace(found, pause=None), "resume", "", who, as_json=as_json)


@app.command()
def sync(ctx: typer.Context, flow: Flow, who: Who = "", as_json: AsJson = False) -> None:
    """Let a flow with a timing deliver now what has been published, without waiting for its next time.

    Its consumer must be running, or be started within ten minutes.

    Example: sorbus sync invoice-to-reporting
    """
    from sorbus.errors import UsageError

    found = _told(ctx, flow)
    if found.pause is not None:
        raise UsageError(f"{flow} is {found.pause.words}; sorbus resume {flow}")
    if Context.of(ctx).load_sound().map.flow(flow).schedule.is_real_time:
        typer.echo(f"{flow} is real-time: it delivers at once anyway", err=True)
        return
    _tell(ctx, flow, found, replace(found, sync_at=time.time()), "sync", "", who, as_json=as_json)


def _told(ctx: typer.Context, flow: str) -> FlowControl:
    """What it was told last. UsageError where the map has no such flow that runs."""
    from sorbus.bus.controls import ControlReader
    from sorbus.bus.names import Names
    from sorbus.errors import UsageError
    from sorbus.settings import Settings
    from sorbus.spelling import closest

    company = Context.of(ctx).load_sound().map
    running = [one.id for one in company.flows if one.runs]
    if flow not in running:
        raise UsageError(f"the map has no flow {flow!r} that runs; {closest(flow, running)}")
    reader = ControlReader(Settings(), Names(company.topic_prefix))
    try:
        return reader.of(flow)
    finally:
        reader.close()


def _tell(
    ctx: typer.Context,
    flow: str,
    before: FlowControl,
    now: FlowControl,
    action: str,
    reason: str,
    who: str,
    *,
    as_json: bool,
) -> None:
    from dataclasses import asdict

    from sorbus.audit import AuditTrail
    from sorbus.bus.controls import control_message
    from sorbus.bus.kafka import idempotent_producer
    from sorbus.bus.names import Names
    from sorbus.bus.sending import send
    from sorbus.drift.watch import has_state
    from sorbus.errors import SorbusError
    from sorbus.settings import Settings
    from sorbus.state.database import State

    company, settings = Context.of(ctx).load_sound().map, Settings()
    if (before.pause is None) == (now.pause is None) and action == "resume":
        said = f"{flow} isn't paused"
    else:
        message = control_message(Names(company.topic_prefix), flow, now)
        send(idempotent_producer(settings, f"control-{flow}"), [message], f"telling flow {flow}")
        if has_state(settings):
            trail, data_type = AuditTrail(State.of(company.topic_prefix)), company.flow(flow).data_type
            try:
                trail.note(who or login_name(), action, "flow", flow, data_type=data_type, reason=reason)
            except SorbusError as error:  # the flow is told already
                typer.echo(f"not noted in the audit trail: {error}", err=True)
        said = {
            "pause": f"{flow} is {now.pause.words if now.pause else ''}; sorbus resume {flow} resumes it",
            "resume": f"{flow} is resumed",
            "sync": f"{flow} delivers now; see sorbus status",
        }[action]
    typer.echo(json.dumps(asdict(now)) if as_json else said)
