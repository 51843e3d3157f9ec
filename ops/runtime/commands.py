"""`sorbus plan`, `sorbus apply` and `sorbus up`: bring everything to what the map says, then run all of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from sorbus.cli.context import CHECKED, Context
from sorbus.cli.show_personal import ShowPersonal
from sorbus.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sorbus.connector import Step

app = typer.Typer()

RUN_FOLDER = Path(".sorbus/run")


@app.command()
def plan(
    ctx: typer.Context,
    flow: Annotated[
        str | None,
        typer.Argument(help="A flow, such as customer-to-accounting, or a process step: a dry run of all its records."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The steps, or the counts and samples, as JSON.")] = False,
    check: Annotated[bool, typer.Option(help="Without FLOW: exit with 1 if anything differs.")] = False,
    from_owner: Annotated[
        bool, typer.Option("--from-owner", help="Read the records from their owner, even if the topic has them.")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many records.")] = None,
    samples: Annotated[int, typer.Option(min=0, help="So many samples of each outcome.")] = 3,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A file with all records: CSV (.csv), else JSON lines.")
    ] = None,
    compare: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Compare what an earlier plan (--out) said with what is there.")
    ] = None,
    show_personal: ShowPersonal = False,
) -> None:
    """Show what differs between the map and what is there: topics, schemas, tables, publications. Changes nothing.

    With FLOW: what delivering every record would do in the target: created, linked, updated (which fields), deleted,
    refused, held, asked, waiting, unchanged. It is the delivery itself, undone: nothing is sent or kept. The records
    come from the topic, or from their owner if it has none yet. Exit code 1 if some records need a person.

    With a process step: what it would make of all that its topic holds now.

    Examples: `sorbus plan`, `sorbus plan --check` in a pipeline, `sorbus plan customer-to-accounting --out plan.csv`,
    `sorbus --map new.yaml plan customer-to-accounting`, `sorbus plan customer-to-accounting --compare plan.csv`,
    `sorbus plan order-to-delivery`
    """
    import json

    from sorbus.map.checks.same_system import same_servers

    if flow is not None:
        _plan_flow(ctx, flow, from_owner, limit, samples, out, compare, as_json, show_personal)
    if from_owner or limit or out or compare or show_personal:
        raise typer.BadParameter("these options need a FLOW", ctx=ctx)
    steps = _plan(ctx)
    notes = same_servers(Context.of(ctx).load_sound())
    for note in notes:
        typer.echo(note, err=True)
    warned = _warn(ctx)
    if as_json:
        found = {"steps": [_as_dict(step) for step in steps], "notes": notes, "warnings": warned}
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        _show(steps)
    if check and steps:
        raise typer.Exit(ExitCode.FINDINGS)


@app.command()
def apply(
    ctx: typer.Context,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    wait: Annotated[
        float, typer.Option(metavar="SECONDS", help="How long to wait for Kafka, registry and systems to answer.")
    ] = 0,
) -> None:
    """Do what `sorbus plan` shows. Safe to repeat: what is there already stays as it is.

    Exit code 1 when steps are left that only a person can do.

    Examples: `sorbus apply`, `sorbus apply --yes` in a pipeline, `sorbus apply --yes --wait 120` while all is starting
    """
    from rich.console import Console
    from rich.progress import Progress

    steps = _plan(ctx, wait)
    ours = [step for step in steps if step.apply is not None]
    _show(steps)
    _warn(ctx)
    if ours and not yes:
        typer.confirm(f"Do {'this' if len(ours) == 1 else f'these {len(ours)} things'}?", abort=True)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        for step in progress.track(ours, description="Applying"):
            assert step.apply is not None
            step.apply()
    if ours:
        typer.echo(f"done: {len(ours)} step{'s' * (len(ours) != 1)}")
    if left := len(steps) - len(ours):
        typer.echo(f"{left} step{'s' * (left != 1)} left for a person, marked ! above", err=True)
        raise typer.Exit(ExitCode.FINDINGS)


@app.command()
def up(
    ctx: typer.Context,
    only: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this system's producer or this flow; repeatable.")
    ] = None,
    watch: Annotated[bool, typer.Option(help="Run `sorbus watch` too.")] = True,
    console: Annotated[bool, typer.Option("--console", help="Run `sorbus console` too.")] = False,
    base_port: Annotated[
        int, typer.Option(help="First port for /metrics and /healthz, the others follow; 0: free ones.")
    ] = 9400,
    together: Annotated[
        int | None, typer.Option(min=1, metavar="FLOWS", help="So many flows share a process; 1: each has its own.")
    ] = None,
    folder: Annotated[Path, typer.Option(help="Where prometheus.json and processes.json are written.")] = RUN_FOLDER,
) -> None:
    """Run every producer and consumer of the map on this machine, and restart what ends.

    Each producer has a process of its own, and so have flows that are no more than the processors; more flows share
    processes, up to ten in each. When such a process crashes, each of its flows gets one of its own. What a process
    prints carries its name. A process that is refused waits until what it logs
    in with has changed, and `sorbus status` says why. Ctrl-C stops all within ten seconds. Prometheus finds the
    processes through FOLDER/prometheus.json.

    Examples: `sorbus up --console`, `sorbus up --only crm --only order-to-reporting`, `sorbus up --together 1`
    """
    import os
    import sys

    from sorbus.cli.refusal import WAIT, WHEN_REFUSED
    from sorbus.ops.runtime.launch import fork, preload
    from sorbus.ops.runtime.output import Output
    from sorbus.ops.runtime.programs import connectors_of, programs_of
    from sorbus.ops.runtime.supervisor import Supervisor
    from sorbus.telemetry.logs import configure_logs
    from sorbus.telemetry.options import LOOPBACK
    from sorbus.telemetry.stop import Stop

    context = Context.of(ctx)
    loaded = context.load_sound()
    programs = programs_of(
        loaded, verbose=context.verbose, only=only or (), watch=watch, console=console, together=together
    )
    stop = Stop.on_signals()
    configure_logs("up")
    output = Output(sys.stdout, [program.name for program in programs])
    logs = os.environ.get("SORBUS_LOGS") or ("console" if output.is_terminal else "json")
    # The children need not check again what has just been checked here.
    env = {"SORBUS_LOGS": logs, CHECKED: loaded.digest, WHEN_REFUSED: WAIT}
    if console:  # links in alerts lead there
        env["SORBUS_CONSOLE_URL"] = (
            os.environ.get("SORBUS_CONSOLE_URL") or f"http://{LOOPBACK}:{os.environ.get('SORBUS_CONSOLE_PORT') or 9490}"
        )
    preload(lambda: connectors_of(loaded))
    supervisor = Supervisor(programs, output=output, folder=folder, base_port=base_port, env=env, launch=fork)
    raise typer.Exit(supervisor.run(stop))


def _plan_flow(ctx: typer.Context, *options: Any) -> NoReturn:
    """`options`: those of `FlowPlanRequest`, in its order."""
    from sorbus.cli.show_personal import note_shown
    from sorbus.ops.flow_plan.command import FlowPlanRequest, plan_flow
    from sorbus.ops.flow_plan.step_plan import plan_step, require_step_options
    from sorbus.telemetry.logs import configure_logs

    configure_logs("plan", level="WARNING")
    request = FlowPlanRequest(*options)
    if request.show_personal:
        note_shown("plan", flow=request.flow)
    if any(step.id == request.flow for step in Context.of(ctx).load_sound().map.steps):
        require_step_options(limit=request.limit, out=request.out, compare=request.compare)
        raise typer.Exit(
            plan_step(
                Context.of(ctx).load_sound(),
                request.flow,
                samples=request.samples,
                as_json=request.as_json,
                show_personal=request.show_personal,
            )
        )
    raise typer.Exit(plan_flow(Context.of(ctx).load_sound(), request))


def _plan(ctx: typer.Context, wait: float = 0) -> list[Step]:
    import stamina

    from sorbus.errors import TransientError
    from sorbus.ops.runtime.planning import plan
    from sorbus.settings import Settings
    from sorbus.telemetry.logs import configure_logs

    configure_logs("plan", level="WARNING")
    loaded, settings = Context.of(ctx).load_sound(), Settings()
    if not wait:
        return plan(loaded, settings)
    for attempt in stamina.retry_context(on=TransientError, attempts=None, timeout=wait, wait_initial=0.5, wait_max=3):
        with attempt:
            try:
                return plan(loaded, settings)
            except TransientError as error:
                typer.echo(f"waiting: {error}", err=True)
                raise
    raise AssertionError("stamina ends with a return or the last error")


def _warn(ctx: typer.Context) -> list[str]:
    """Shows which records can't pass as map and systems are, and gives it back."""
    from sorbus.ops.runtime.planning import warnings
    from sorbus.settings import Settings

    found = warnings(Context.of(ctx).load_sound(), Settings())
    for warning in found:
        typer.echo(f"warning: {warning}", err=True)
    return found


def _show(steps: Sequence[Step]) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    if not steps:
        console.print("Everything is as the map says.")
    where = ""
    for step in steps:
        if step.where != where:
            where = step.where
            console.print(Text(where, style="bold"))
        mark, style = ("+", "green") if step.apply is not None else ("!", "yellow")
        console.print(Text.assemble("  ", (mark, style), f" {step.what}"), soft_wrap=True)
        for line in step.detail.splitlines():
            console.print(Text(f"      {line}", style="dim"), soft_wrap=True)


def _as_dict(step: Step) -> dict[str, str | bool]:
    return {"where": step.where, "what": step.what, "detail": step.detail, "by_hand": step.apply is None}
