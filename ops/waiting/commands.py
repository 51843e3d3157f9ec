"""`sorbus waiting`: records that can't be delivered yet, what they wait for, and who can help."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated

import typer

from sorbus.cli.context import Context
from sorbus.control_characters import escaped

app = typer.Typer(name="waiting", help="Records that can't be delivered yet: what each waits for, and who can help.")


class Why(StrEnum):
    """What a record can wait for."""

    REFERENCE = "reference"
    INCOMPLETE = "incomplete"


Flow = Annotated[str | None, typer.Option("--flow", help="Only of this flow, such as invoice-to-accounting.")]


@app.command("list")
def list_(
    ctx: typer.Context,
    flow: Flow = None,
    why: Annotated[Why | None, typer.Option(help="Only those that wait for this.")] = None,
    most: Annotated[int, typer.Option("--most", min=1, help="Most records to show.")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per record.")] = False,
) -> None:
    """Show the records that wait, the longest first.

    incomplete: lacks a required field; resumes automatically once its owner fills it in. reference: refers to a record
    that the target doesn't have yet, and goes on when it has; else it becomes a dead letter at the time shown.

    Examples: sorbus waiting list --why incomplete; sorbus waiting list --flow invoice-to-books --json
    """
    from sorbus.state import State
    from sorbus.waiting.store import waiting

    loaded = Context.of(ctx).load()
    found = waiting(State.of(loaded.map.topic_prefix), flow=flow, why=why.value if why else None, most=most)
    if as_json:
        for one in found:
            times = {"since": one.since.isoformat(), "until": one.until.isoformat() if one.until else None}
            typer.echo(json.dumps({**one._asdict(), **times}, ensure_ascii=False))
        return
    if not found:
        typer.echo("no waiting records", err=True)
        return
    for one in found:
        until = f", until {one.until.astimezone():%Y-%m-%d %H:%M}" if one.until else ""
        what = f"{one.data_type} {one.id}"
        told = one.message if one.message.startswith(f"{what} ") else f"{what} waits: {one.message}"
        typer.echo(f"{escaped(told)} ({one.flow}, since {one.since.astimezone():%Y-%m-%d %H:%M}{until})")
    if len(found) == most:
        typer.echo(f"... the first {most}; see more with --most", err=True)


@app.command("retry")
def retry(
    ctx: typer.Context,
    flow: Annotated[str, typer.Argument(help="The flow.")],
    id: Annotated[str | None, typer.Argument(help="The record's id at its owner; all of the flow without it.")] = None,
) -> None:
    """Retry waiting records now, for example after changing the map or the target.

    Example: sorbus waiting retry invoice-to-accounting 17
    """
    from sorbus.cli.login import login_name
    from sorbus.errors import ExitCode, UsageError
    from sorbus.spelling import closest
    from sorbus.state import State
    from sorbus.waiting.store import retry as try_now

    written = Context.of(ctx).load().map
    found = next((one for one in written.flows if one.id == flow), None)
    if found is None:
        raise UsageError(f"no flow is called {flow!r}; {closest(flow, [one.id for one in written.flows])}")
    state = State.of(written.topic_prefix)
    count = try_now(state, found.id, found.data_type, found.to, id, login_name())
    typer.echo(f"{count} record{'s' * (count != 1)} of {flow} will be tried by its consumer now")
    if not count:
        raise typer.Exit(ExitCode.FINDINGS)
