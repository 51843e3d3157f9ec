"""`sorbus checklists`: flows done by hand: what is due, and recording that it is done."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from sorbus.cli.context import Context
from sorbus.cli.login import login_name
from sorbus.control_characters import escaped
from sorbus.ops.checklists import sheet_commands

if TYPE_CHECKING:
    from datetime import datetime

    from sorbus.ops.checklists.occurrences import Checklist
    from sorbus.ops.checklists.store import Checklists

app = typer.Typer(name="checklists", help="Flows done by hand: what is due, who did it, and the verification.")

Json = Annotated[bool, typer.Option("--json", help="As JSON, one object a line.")]
Who = Annotated[str, typer.Option("--by", envvar="SORBUS_USER", help="Who did it; else who is logged in.")]
FlowArgument = Annotated[str, typer.Argument(help="The flow, as `sorbus checklists list` shows it.")]


@app.command("list")
def list_(
    ctx: typer.Context,
    check: Annotated[bool, typer.Option("--check", help="Exit with 1 if any is overdue.")] = False,
    as_json: Json = False,
) -> None:
    """Show every checklist of the map: who does it, and by when.

    Examples: sorbus checklists list; sorbus checklists list --json | jq .due; sorbus checklists list --check
    """
    from sorbus.errors import ExitCode
    from sorbus.ops.checklists.occurrences import as_data

    found = _open(ctx).all()
    if as_json:
        for one in found:
            typer.echo(json.dumps(as_data(one), ensure_ascii=False))
    elif not found:
        typer.echo("The map has no manual flows (`manual:`).")
    else:
        from rich import box
        from rich.console import Console
        from rich.table import Table

        table = Table("Flow", "Who", "Schedule", "", "By", "Steps", "Last done", box=box.SIMPLE)
        for one in found:
            last = one.done[0] if one.done else None
            ticked = f"{len(one.steps) - len(one.left)} of {len(one.steps)}"
            done = f"{_when(last.done_at)} by {last.done_by}" if last else "never"
            style = "bold red" if one.standing == "overdue" else ""
            table.add_row(
                one.flow, str(one.responsible), one.schedule, one.standing, _by(one), ticked, done, style=style
            )
        Console().print(table)
    if check and any(one.standing == "overdue" for one in found):
        raise typer.Exit(ExitCode.FINDINGS)


@app.command()
def show(ctx: typer.Context, flow: FlowArgument, as_json: Json = False) -> None:
    """Show one checklist: its steps, who ticked them, how it is verified, and earlier rounds.

    Example: sorbus checklists show product-to-price_book
    """
    _show(_open(ctx).get(flow), as_json=as_json)


@app.command()
def tick(
    ctx: typer.Context,
    flow: FlowArgument,
    steps: Annotated[list[int], typer.Argument(metavar="STEP...", help="The steps' numbers.")],
    who: Who = "",
    undo: Annotated[bool, typer.Option("--undo", help="Mark them as not done.")] = False,
    as_json: Json = False,
) -> None:
    """Mark steps of the current round as done.

    Examples: sorbus checklists tick product-to-price_book 1 2; sorbus checklists tick product-to-price_book 2 --undo
    """
    checklists, person = _open(ctx), who or login_name()
    _show(checklists.tick(flow, steps, person, undo=undo), as_json=as_json)


@app.command()
def done(
    ctx: typer.Context,
    flow: FlowArgument,
    verification: Annotated[str, typer.Option("--verification", "-m", help="Verification result.")],
    who: Who = "",
    as_json: Json = False,
) -> None:
    """Mark the whole round as done and verified. Steps not ticked yet are recorded as done by you.

    Example: sorbus checklists done product-to-price_book -m "ten prices compared, all equal"
    """
    checklists, person = _open(ctx), who or login_name()
    _show(checklists.finish(flow, person, verification), as_json=as_json)


app.command("sheet")(sheet_commands.sheet)
app.command("import")(sheet_commands.import_)
app.command("baseline")(sheet_commands.baseline)
app.command("reopen")(sheet_commands.reopen)
app.command("figures")(sheet_commands.figures)


def _show(one: Checklist, *, as_json: bool) -> None:
    from sorbus.ops.checklists.occurrences import as_data

    if as_json:
        typer.echo(json.dumps(as_data(one), ensure_ascii=False))
        return
    typer.echo(f"{one.flow}: {one.data_type} to {one.target} by hand, {one.schedule}; {one.responsible}")
    typer.echo(f"{one.standing}, {_by(one)}" if one.due else one.standing)
    for number, step in enumerate(one.steps, 1):
        ticked = f"  ({step.who}, {_when(step.at)})" if step.at else ""
        typer.echo(f"  [{'x' if step.who else ' '}] {number}. {step.words}{ticked}")
    typer.echo(f"Verification: {one.verification}")
    if one.sheet is not None:
        answered = f"{one.sheet.done:,} done, {one.sheet.not_done:,} not done, {one.sheet.left:,} not answered"
        typer.echo(f"Sheet {one.sheet.code}, prepared {_when(one.sheet.prepared_at)}: {answered}")
    for each in one.done:
        typer.echo(escaped(f"Done {_when(each.done_at)} by {each.done_by}: {each.verification}"))


def _by(one: Checklist) -> str:
    if one.overdue_since is not None:
        return f"since {_when(one.overdue_since)}"
    if one.due is None:
        return ""
    return f"next round from {_when(one.due)}" if one.is_done else f"by {_when(one.due)}"


def _when(moment: datetime) -> str:
    return f"{moment.astimezone():%Y-%m-%d %H:%M}"


def _open(ctx: typer.Context) -> Checklists:
    from sorbus.ops.checklists.store import Checklists
    from sorbus.state import State

    company = Context.of(ctx).load().map
    return Checklists(company, State.of(company.topic_prefix))
