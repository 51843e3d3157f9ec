"""`sorbus checklists sheet | import | baseline | reopen | figures`: manual sync with prepared sheets."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sorbus.cli.context import Context
from sorbus.cli.login import login_name
from sorbus.control_characters import escaped

if TYPE_CHECKING:
    from sorbus.ops.checklists.sheets.changes import OwnerRecord
    from sorbus.ops.checklists.sheets.figures import RoundFigure
    from sorbus.ops.checklists.sheets.open_sync import OpenedSync

Json = Annotated[bool, typer.Option("--json", help="As JSON.")]
Who = Annotated[str, typer.Option("--by", envvar="SORBUS_USER", help="Who did it; else who is logged in.")]
FlowArgument = Annotated[str, typer.Argument(help="The flow, as `sorbus checklists list` shows it.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be recorded; record nothing.")]
Count = Annotated[int | None, typer.Option("--count", min=0, help="How many records the target holds.")]
Sums = Annotated[
    list[str] | None, typer.Option("--sum", metavar="FIELD=SUM", help="The target's sum of a field under `totals:`.")
]


def sheet(
    ctx: typer.Context,
    flow: FlowArgument,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The file; default: FLOW-CODE.xlsx.")] = None,
    who: Who = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=5000, help="Changes in one sheet.")] = 5000,
    accept_deletes: Annotated[
        bool, typer.Option("--accept-deletes", help="Confirmed records that are gone from the topic are deletes.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file, with the marks in it.")] = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Prepare a workbook of what changed since the last round: new, changed and deleted records in the target's fields.

    Whoever does the round marks each row done, or not done with a reason, and imports the file. What is not confirmed
    is listed again in the next sheet.

    Examples: sorbus checklists sheet product-to-price_book -o prices.xlsx; sorbus checklists sheet
    product-to-price_book --dry-run
    """
    from sorbus.errors import SorbusError, UsageError

    if out is not None and out.exists() and not force and not dry_run:
        raise UsageError(
            f"{out} is there already, perhaps with marks that aren't imported; use another name, or --force"
        )
    opened = _open(ctx, flow)
    found = opened.prepare(who or login_name(), _records(opened), limit, accept_deletes=accept_deletes, dry_run=dry_run)
    name = out or Path(f"{flow}-{found.sheet.code}.xlsx" if found.sheet else f"{flow}.xlsx")
    if found.file:
        try:
            name.write_bytes(found.file)
        except OSError as error:
            raise SorbusError(f"{name} can't be written: {error.strerror or error}; prepare the sheet again") from error
    if as_json:
        told = {
            "flow": flow,
            "sheet": found.sheet.code if found.sheet else None,
            "file": str(name) if found.file else None,
            "rows": found.counts(),
            "more": found.more,
            "left_out": [{"record": id, "why": why} for id, why in found.left_out],
            "trouble": found.trouble,
        }
        typer.echo(json.dumps(told, ensure_ascii=False))
        return
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in found.counts().items())
    if not found.rows and found.file:
        typer.echo(f"{flow}: nothing has changed; {name} asks for the figures that verify it: then import it")
    elif not found.rows:
        typer.echo(f"{flow}: nothing has changed since the last confirmed round")
    elif dry_run:
        typer.echo(f"{flow}: {kinds}; nothing was recorded")
    else:
        typer.echo(f"{name}: {kinds}; mark the rows, then: sorbus checklists import {flow} {name}")
    if found.more:
        typer.echo(f"{found.more:,} more changes wait for the next sheet")
    if found.trouble:
        typer.echo(escaped(f"{found.trouble}: what has changed there since is missing"), err=True)
    for id, why in found.left_out:
        typer.echo(escaped(f"left out: record {id}: {why}"), err=True)


def import_(
    ctx: typer.Context,
    flow: FlowArgument,
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The sheet with its marks, XLSX or CSV.")],
    who: Who = "",
    count: Count = None,
    sums: Sums = None,
    accept: Annotated[
        str, typer.Option("--accept-difference", metavar="REASON", help="Why figures that differ are right.")
    ] = "",
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Record what was done of a prepared sheet, and finish the round once all is answered and the figures agree.

    Rows that don't belong to a sheet of this flow are refused, each with its place and reason; the others are recorded.
    The same file again changes nothing. Exit code 1: rows or figures need a correction.

    Examples: sorbus checklists import product-to-price_book prices.xlsx --count 412; sorbus checklists import
    product-to-price_book prices.xlsx --dry-run
    """
    from sorbus.errors import ExitCode

    opened = _open(ctx, flow)
    found = opened.sync.import_file(
        file, who or login_name(), entered=_entered(count, sums), accept_difference=accept, dry_run=dry_run
    )
    if as_json:
        told = {
            "flow": flow,
            "done": found.count("done"),
            "not_done": found.count("not done"),
            "overtaken": [each.row.id for each in found.overtaken],
            "findings": [each._asdict() for each in found.findings],
            "faults": found.faults,
            "figures": _figures_json(found.figures),
            "finished": found.finished,
            "why_open": found.why_open,
        }
        typer.echo(json.dumps(told, ensure_ascii=False))
    else:
        recorded = "would be recorded" if dry_run else "recorded"
        typer.echo(f"{flow}: {found.count('done'):,} done and {found.count('not done'):,} not done {recorded}")
        for each in found.overtaken:
            told_of = f"record {each.row.id}: a newer sheet confirmed it already; the next sheet asks to check it"
            typer.echo(escaped(told_of))
        for finding in found.findings:
            typer.echo(escaped(str(finding)), err=True)
        for fault in found.faults:
            typer.echo(escaped(fault), err=True)
        _show_figures(found.figures)
        typer.echo(
            "the round is finished"
            if found.finished
            else escaped(f"the round stays open: {found.why_open}")
            if found.why_open
            else "the round would be finished"
        )
    if found.findings or found.faults:
        raise typer.Exit(ExitCode.FINDINGS)


def baseline(
    ctx: typer.Context,
    flow: FlowArgument,
    reason: Annotated[str, typer.Option("--reason", "-m", help="How you know that the target holds it all.")],
    who: Who = "",
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Confirm that the target holds everything as the owner has it now, so that the first sheet lists changes alone.

    For a target that has been filled by hand before. Without it the first sheet lists every record as new.

    Example: sorbus checklists baseline product-to-price_book -m "compared all 412 prices" --dry-run
    """
    opened = _open(ctx, flow)
    owner = opened.sync.baseline(_records(opened), who or login_name(), reason, dry_run=dry_run)
    if as_json:
        told = {"flow": flow, **{name: format(value, "f") for name, value in owner.by_name().items()}}
        typer.echo(json.dumps(told | {"recorded": not dry_run}))
    else:
        told_sums = "".join(f", {name} {value:,}" for name, value in owner.sums.items())
        typer.echo(f"{flow}: {owner.records:,} records{told_sums} {'would be' if dry_run else 'are'} confirmed")


def reopen(
    ctx: typer.Context,
    flow: FlowArgument,
    record: Annotated[str, typer.Argument(help="Record ID in the source system.")],
    reason: Annotated[str, typer.Option("--reason", "-m", help="Why it is to be checked again.")],
    who: Who = "",
) -> None:
    """Have a confirmed record listed again in the next sheet, for instance after it was marked done by mistake.

    Example: sorbus checklists reopen product-to-price_book 4711 -m "typed into the wrong line"
    """
    from sorbus.errors import SorbusError

    if not _open(ctx, flow, read=False).sync.store.reopen(record, who or login_name(), reason):
        raise SorbusError(f"{flow}: record {record} is not confirmed, so the next sheet lists it anyway")
    typer.echo(escaped(f"{flow}: the next sheet lists record {record} again"))


def figures(ctx: typer.Context, flow: FlowArgument, as_json: Json = False) -> None:
    """Show the owner's figures, what people confirmed and what the target holds, side by side.

    Example: sorbus checklists figures product-to-price_book
    """
    found = _open(ctx, flow).sync.figures()
    if as_json:
        typer.echo(json.dumps(_figures_json(found)))
    else:
        _show_figures(found)


def _figures_json(found: list[RoundFigure]) -> object:
    from sorbus.ops.checklists.sheets.figures import as_json

    return as_json(found)


def _show_figures(found: list[RoundFigure]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table("Figure", "At the owner", "Confirmed", "In the target", "", box=box.SIMPLE)
    for one in found:
        verdict = {True: "agrees", False: "differs", None: "not known"}[one.agrees]
        owner, target = (f"{value:,}" if value is not None else "?" for value in (one.owner, one.target))
        table.add_row(one.name, owner, f"{one.confirmed:,}", target, verdict)
    Console().print(table)


def _entered(count: int | None, sums: list[str] | None) -> Mapping[str, Decimal]:
    from sorbus.ops.checklists.sheets.figures import RECORDS

    found = {} if count is None else {RECORDS: Decimal(count)}
    for written in sums or ():
        name, _, value = written.partition("=")
        try:
            found[name] = Decimal(value)
        except InvalidOperation as error:
            raise typer.BadParameter(f"--sum {written}: write FIELD=SUM, such as price=1234.50") from error
    return found


def _records(opened: OpenedSync) -> list[OwnerRecord]:
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("reading", total=None)
        return opened.records(
            lambda what, done, total: bar.update(task, description=what, completed=done, total=total or None)
        )


def _open(ctx: typer.Context, flow: str, *, read: bool = True) -> OpenedSync:
    from sorbus.ops.checklists.sheets.open_sync import OpenedSync
    from sorbus.settings import Settings
    from sorbus.state import State

    loaded = Context.of(ctx).load()
    return OpenedSync(loaded, Settings(), State.of(loaded.map.topic_prefix), flow, read_target=read)
