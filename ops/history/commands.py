"""`sorbus history`: what a flow delivered, or a system's producer captured, over time."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Annotated

import typer

from sorbus.cli.context import Context

if TYPE_CHECKING:
    from sorbus.history.read import HistoryBucket, HistoryRun

app = typer.Typer()


@app.command()
def history(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="FLOW|SYSTEM", help="A flow, or a system of record.")],
    since: Annotated[str, typer.Option("--since", metavar="TIME", help="How far back: 90m, 24h, 30d.")] = "24h",
    by: Annotated[str, typer.Option("--by", metavar="TIME", help="The width of a line: 1m, 15m, 1h, 1d.")] = "1h",
    runs: Annotated[bool, typer.Option("--runs", help="The starts of its processes instead.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Show what a flow delivered, or a producer captured: records by outcome, bytes, seconds of work.

    The same figures are views in Sorbus's database, for reports: docs/operations.md. A run that crashed may lack its
    last minute.

    Examples: sorbus history customer-to-books; sorbus history crm --since 7d --by 1d; sorbus history crm --runs --json
    """
    from sorbus.errors import SorbusError, UsageError
    from sorbus.history.read import read_buckets, read_runs
    from sorbus.spelling import closest
    from sorbus.state.database import State
    from sorbus.timing.duration import parse_duration

    company = Context.of(ctx).load().map
    flows = [flow.id for flow in company.flows]
    if name not in flows and name not in company.systems:
        raise UsageError(f"the map has no flow or system {name!r}; {closest(name, [*flows, *company.systems])}")
    try:
        span, width = parse_duration(since), parse_duration(by)
    except (ValueError, SorbusError) as error:
        raise UsageError(f"{error}; write 15m, 24h or 30d") from error
    activity = "delivery" if name in flows else "capture"
    state, begin = State.of(company.topic_prefix), time.time() - span
    if runs:
        _show_runs(read_runs(state, activity, name, begin), as_json=as_json)
    else:
        _show_buckets(read_buckets(state, activity, name, begin, width), as_json=as_json)


def _show_runs(found: list[HistoryRun], *, as_json: bool) -> None:
    if as_json:
        for one in found:
            typer.echo(json.dumps(one._asdict()))
        return
    for one in found:
        note = " (at most a minute before its end is not counted)" if one.state == "crashed" else ""
        typer.echo(f"{_at(one.began)}  {one.state:8}  until {_at(one.seen)}  {one.instance}{note}")
    if not found:
        typer.echo("No runs are recorded in that time.")


def _show_buckets(found: list[HistoryBucket], *, as_json: bool) -> None:
    for one in found if as_json else ():
        typer.echo(json.dumps({"data_type": one.data_type, "began": one.began, **one.counts}))
    if as_json:
        return
    from rich.console import Console
    from rich.table import Table

    names = [name for name in (found[0].counts if found else ()) if any(one.counts[name] for one in found)]
    table = Table("from", "data type", box=None, pad_edge=False)
    for name in names:
        table.add_column(name, justify="right")
    for one in found:
        table.add_row(_at(one.began), one.data_type, *(f"{one.counts[name]:,.0f}" for name in names))
    Console(highlight=False, soft_wrap=True).print(table if found else "Nothing is recorded in that time.")


def _at(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(moment))
