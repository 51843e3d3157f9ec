"""`sorbus replay`: rebuild or refresh a flow's target from its topic."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from typing import Annotated

import typer

from sorbus.cli.context import Context

app = typer.Typer()


@app.command()
def replay(
    ctx: typer.Context,
    flow: Annotated[str, typer.Argument(help="The flow whose target is brought up to date.")],
    since: Annotated[
        str, typer.Option("--from", help="`beginning`, or a time such as 2026-11-01T08:00 (local unless it says).")
    ] = "beginning",
    without_deleted: Annotated[
        bool, typer.Option("--without-deleted", help="Soft deletes: continue where deleted records can't be restored.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The counts as JSON.")] = False,
) -> None:
    """Deliver everything on the topic to one flow's target once more; safe while its consumer runs.

    Examples: sorbus replay customer-to-reporting; sorbus replay order-to-reporting --from 2026-11-01T08:00
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from sorbus.ops.replay.deleted import lost_deletions
    from sorbus.ops.replay.replay import replay as run
    from sorbus.settings import Settings
    from sorbus.telemetry.logs import configure_logs
    from sorbus.waiting.complete import consumer_of

    configure_logs(f"replay {flow}", level="WARNING")
    start = _time(since)
    loaded = Context.of(ctx).load_sound()
    bound = loaded.flow(flow)
    connector = loaded.consumer(bound.flow.to)
    deleted = lost_deletions(bound, lambda: connector(bound), Settings(), without=without_deleted)
    columns = (TextColumn(f"replay {flow}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not sys.stderr.isatty()) as bars:
        bar = bars.add_task(flow, total=None)
        done = run(
            bound,
            lambda: consumer_of(connector, bound),
            Settings(),
            since=start,
            first=deleted,
            progress=lambda events, total: bars.update(bar, completed=events, total=max(events, total)),
        )
    if as_json:
        typer.echo(json.dumps(done._asdict()))
    else:
        typer.echo(f"{flow}: {done.events} events read, {done.applied} records brought up to date", nl=False)
        typer.echo(f", {done.waiting} wait: see `sorbus waiting --flow {flow}`" if done.waiting else "", nl=False)
        typer.echo(f", {done.refused} refused: see `sorbus dlq list --flow {flow}`" if done.refused else "")
    raise typer.Exit(1 if done.refused else 0)


def _time(text: str) -> datetime | None:
    if text == "beginning":
        return None
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError) as error:
        raise typer.BadParameter(f"{text!r} is not a time; write beginning or 2026-11-01T08:00") from error
